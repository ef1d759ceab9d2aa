"""Which loss moves which end of GW: the ladder from GW to the pointwise loss, before, during and after fusion."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_ladder.measure import QUANTILES, measure
from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.methods import by_name
from experiments.shared.records import Record, Row, where
from experiments.shared.selection import chosen_weight
from experiments.shared.threads import one_thread
from experiments.shared.training import Run, train

RECORD = Record(Path(__file__).parent / "records")
METHODS = ("sft", "gld", "infigfusion", "gld_aligned", "hellinger", "path")
STEPS, SEEDS = 200, 5
LOOKS = (0, STEPS // 2, STEPS)
STATED_MINUTES = 5.9


def config() -> Row:
    """What is run; weights are those chosen in fusion_objectives."""
    return {
        "methods": list(METHODS),
        "steps": STEPS,
        "looks": list(LOOKS),
        "seeds": list(range(SEEDS)),
        "quantiles": list(QUANTILES),
    }


def jobs() -> list[Job]:
    """One training run a method and seed; its row holds every look under its step."""

    def job(name: str, seed: int) -> Job:
        method = by_name(name)

        def work() -> Row:
            weight = chosen_weight(OBJECTIVES.rows, method)
            found: Row = {"weight": weight}

            def look(step: int, model: object) -> None:
                if step in LOOKS:
                    found.update({f"{n}@{step}": v for n, v in measure(model, seed).items()})

            train(Run(method, weight, 0.0, STEPS, seed), look)
            return found

        return Job(f"{name} seed {seed}", work, {"method": name, "seed": seed, "steps": STEPS})

    return [job(name, seed) for seed in range(SEEDS) for name in METHODS]


def main() -> None:
    """Run what is not in the record yet."""
    missing = [n for n in METHODS if by_name(n).grid and not where(OBJECTIVES.rows, stage="select", method=n)]
    if missing:
        raise SystemExit(f"weights of {', '.join(missing)} are chosen by python -m experiments.fusion_objectives.run")
    RECORD.start(config())
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    one_thread()
    main()
