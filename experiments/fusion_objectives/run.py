"""Which objective fuses best: every method at equal budgets, weights chosen on a pool of their own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from experiments.shared import benchmark
from experiments.shared.benchmark import SEEDS, opened, scores
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.methods import METHODS, by_name
from experiments.shared.models import all_recipes
from experiments.shared.records import Record, Row
from experiments.shared.selection import final_jobs, selection_jobs
from experiments.shared.threads import one_thread
from experiments.shared.training import BATCH, LEARNING_RATES, SHORT_RATE

RECORD = Record(Path(__file__).parent / "records")
STEPS = (200, 400)
BEFORE = ("pivot", "A", "B", "Ap", "Bp")
REPLAYED = ("sft", "infigfusion", "path")
STATED_MINUTES = 28.2


def config() -> Row:
    """What is run."""
    return {
        "recipes": {name: dataclasses.asdict(all_recipes()[name]) for name in BEFORE},
        "methods": {m.name: {"what": m.what, "parts": dict(m.parts), "grid": list(m.grid)} for m in METHODS},
        "steps": list(STEPS),
        "seeds": list(range(SEEDS)),
        "selection_seed": benchmark.SELECTION_SEED,
        "selection": "largest exact match less excess, 200 steps, one seed; the weight serves both budgets",
        "examples_a_task": benchmark.EXAMPLES,
        "replayed": benchmark.REPLAYED,
        "tests_a_task": benchmark.TESTS,
        "batch": BATCH,
        "learning_rates": {str(k): v for k, v in LEARNING_RATES.items()} | {"sft_short": SHORT_RATE},
    }


def jobs() -> list[Job]:
    """Models as they are, the grids, then the tests."""
    path = by_name("path")
    # path first: what stands on it takes its weight
    ordered = sorted(METHODS, key=lambda m: m.name != "path")

    def before(name: str) -> Job:
        def work() -> Row:
            return dict(scores(*opened(name), 0))

        return Job(f"before {name}", work, {"stage": "before", "method": name, "seed": 0, "steps": 0})

    found = [before(name) for name in BEFORE] + selection_jobs(RECORD, ordered, path)
    for steps in STEPS:
        found += final_jobs(RECORD, METHODS, steps, range(SEEDS), path=path)
    return found + final_jobs(RECORD, [by_name(n) for n in REPLAYED], 400, range(SEEDS), replay=True)


def main() -> None:
    """Run what is not in the record yet."""
    RECORD.start(config())
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    one_thread()
    main()
