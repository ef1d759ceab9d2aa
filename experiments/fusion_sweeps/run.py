"""What the choices inside the objectives do: kept logits, graph, sources, strength of the pivot, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.fusion_sweeps.gradients import PIVOTS, cosines
from experiments.fusion_sweeps.grid import by_sources, graphs, kept_logits, windows
from experiments.shared.benchmark import opened, scores
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.methods import Method, by_name
from experiments.shared.records import Record, Row
from experiments.shared.selection import chosen_weight, final_jobs, selection_jobs
from experiments.shared.threads import one_thread
from experiments.shared.training import Run, scored

RECORD = Record(Path(__file__).parent / "records")
STEPS, SEEDS = 200, 5
STRONG = ("sft", "uld", "gld", "infigfusion", "gld_aligned", "hellinger", "path", "oracle")
STRONG_RATE = 5e-4
STATED_MINUTES = 29.1


def config() -> Row:
    """What is run; weights of unchanged objectives are those chosen in fusion_objectives for the weak pivot."""
    return {
        "steps": STEPS,
        "seeds": list(range(SEEDS)),
        "strong_learning_rate": STRONG_RATE,
        "pivots": PIVOTS,
        "graphs": {m.name: list(m.grid) for m in graphs()},
        "third_source": "Qwen2, tokenizer of A, expert on M, N, D, S",
    }


def fixed(stage: str, methods: Sequence[Method], like: str = "", pivot: str = "pivot", lr: float = 0.0) -> list[Job]:
    """Runs at the weight chosen for the method itself, or for the one it is `like`."""

    def job(method: Method, seed: int) -> Job:
        def work() -> Row:
            weight = chosen_weight(OBJECTIVES.rows, by_name(like or method.name.partition(",")[0]))
            run = Run(method, weight, 0.0, STEPS, seed, pivot=pivot, lr=lr)
            return {"weight": weight, **scored(run)}

        fields = {"stage": stage, "method": method.name, "seed": seed, "steps": STEPS}
        return Job(f"{stage} {method.name} seed {seed}", work, fields)

    return [job(method, seed) for seed in range(SEEDS) for method in methods]


def gradient_jobs() -> list[Job]:
    """One diagnosis a pivot and seed."""

    def job(name: str, seed: int) -> Job:
        fields = {"stage": "gradients", "method": name, "seed": seed, "steps": 0}
        return Job(f"gradients {name} seed {seed}", lambda: cosines(name, seed), fields)

    return [job(name, seed) for name in PIVOTS for seed in range(SEEDS)]


def before(name: str) -> Job:
    """Score of a model as it is."""
    fields = {"stage": "before", "method": name, "seed": 0, "steps": 0}
    return Job(f"before {name}", lambda: dict(scores(*opened(name), 0)), fields)


def jobs() -> list[Job]:
    """All variations, the most telling first."""
    strong = [by_name(n) for n in STRONG]
    return [
        *(before(name) for name in ("middle", "strong", "C")),
        *gradient_jobs(),
        *fixed("strong", strong, pivot="strong", lr=STRONG_RATE),
        *fixed("window", windows(), like="gld_aligned"),
        *fixed("kept", kept_logits(), like="infigfusion"),
        *fixed("sources", by_sources()),
        *selection_jobs(RECORD, graphs()),
        *final_jobs(RECORD, graphs(), STEPS, range(SEEDS)),
    ]


def main() -> None:
    """Run what is not in the record yet."""
    RECORD.start(config())
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    one_thread()
    main()
