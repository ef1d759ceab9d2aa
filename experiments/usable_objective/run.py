"""The published objective as it trains, on the small benchmark: 5 seeds, beside its letter, SFT and path.

``python -m experiments.usable_objective.run``; it needs the records of `fusion_objectives`, which hold the others.
Weights are those of the preset: nothing is chosen.
"""

from __future__ import annotations

from pathlib import Path

from experiments.shared.benchmark import SEEDS
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.methods import Method
from experiments.shared.records import Record, Row
from experiments.shared.threads import one_thread
from experiments.shared.training import Run, limited_weights, scored
from gwfast_llm.config import PRESETS, ObjectiveConfig

RECORD = Record(Path(__file__).parent / "records")
STEPS = (200, 400)
USABLE = ObjectiveConfig()
PARTS = PRESETS["infigfusion"]
METHODS = (
    Method("gld, usable", "SFT + GLD on log-probabilities in units of the source's graph", (("gld", 1.0),), (1.0,)),
    Method(
        "infigfusion, usable",
        "SFT + ULD + GLD of the preset",
        (("uld", PARTS["uld"]), ("gld", PARTS["gld"])),
        (1.0,),
    ),
)


def config() -> Row:
    """What is run."""
    return {
        "methods": {m.name: {"what": m.what, "parts": dict(m.parts)} for m in METHODS},
        "gld_pull": USABLE.gld_pull,
        "steps": list(STEPS),
        "seeds": list(range(SEEDS)),
    }


def jobs() -> list[Job]:
    """One run a method, budget and seed."""

    def job(method: Method, steps: int, seed: int) -> Job:
        def work() -> Row:
            run = Run(method, 1.0, 0.0, steps, seed)
            return {**scored(run), "weight_gld": limited_weights(run)["gld"]}

        fields = {"stage": "test", "method": method.name, "steps": steps, "seed": seed}
        return Job(f"{method.name} {steps} seed {seed}", work, fields)

    return [job(method, steps, seed) for steps in STEPS for seed in range(SEEDS) for method in METHODS]


def main() -> None:
    """Run what is not in the record yet, and write the README."""
    from experiments.usable_objective.report import write

    RECORD.start(config())
    run_jobs(RECORD, jobs())
    write()


if __name__ == "__main__":
    one_thread()
    main()
