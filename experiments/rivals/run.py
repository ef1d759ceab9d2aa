"""Rivals of path-KL at equal budgets, weights chosen on a pool of their own: ``python -m experiments.rivals.run``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from experiments.rivals import merges, policies
from experiments.rivals.methods import KEPT, METHODS, TAILS, tailed
from experiments.shared import benchmark
from experiments.shared.benchmark import SEEDS
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.models import all_recipes
from experiments.shared.records import Record, Row
from experiments.shared.selection import chosen_weight, final_jobs, selection_jobs
from experiments.shared.threads import one_thread
from experiments.shared.training import BATCH, LEARNING_RATES, Run, scored

RECORD = Record(Path(__file__).parent / "records")
STEPS = (200, 400)
TAIL_SEEDS = 3


def config() -> Row:
    """What is run."""
    return {
        "recipes": {name: dataclasses.asdict(all_recipes()[name]) for name in ("pivot", "A", "B")},
        "methods": {m.name: {"what": m.what, "parts": dict(m.parts), "grid": list(m.grid)} for m in METHODS},
        "steps": list(STEPS),
        "seeds": list(range(SEEDS)),
        "selection_seed": benchmark.SELECTION_SEED,
        "selection": "largest exact match less excess, one seed, for each number of steps",
        "examples_a_task": benchmark.EXAMPLES,
        "tests_a_task": benchmark.TESTS,
        "batch": BATCH,
        "learning_rates": {str(k): v for k, v in LEARNING_RATES.items()},
        "merges": {name: dataclasses.asdict(recipe) for name, recipe in merges.MERGES.items()},
        "policies": [dataclasses.asdict(policy) for policy in policies.POLICIES],
        "tails": list(TAILS),
        "kept": list(KEPT),
        "tail_seeds": TAIL_SEEDS,
    }


def tail_jobs() -> list[Job]:
    """Path-KL with few kept tokens, the rest as one bucket or left out."""
    path = next(m for m in METHODS if m.name == "path")

    def job(tail: str, keep: int, seed: int) -> Job:
        def work() -> Row:
            weight = chosen_weight(RECORD.rows, path)
            return {"weight": weight, **scored(Run(tailed(tail), weight, 0.0, 200, seed, keep=keep))}

        fields = {"stage": "tail", "method": tail, "keep": keep, "seed": seed, "steps": 200}
        return Job(f"tail {tail} {keep} seed {seed}", work, fields)

    return [job(tail, keep, seed) for seed in range(TAIL_SEEDS) for keep in KEPT for tail in TAILS]


def jobs() -> list[Job]:
    """The grids, the tests, merges and own answers, then the tails."""
    path = next(m for m in METHODS if m.name == "path")
    found: list[Job] = []
    for steps in STEPS:
        found += selection_jobs(RECORD, METHODS, steps=steps)
        found += final_jobs(RECORD, METHODS, steps, range(SEEDS), chosen_at=steps)
    found += merges.jobs(lambda: chosen_weight(RECORD.rows, path))
    return found + policies.jobs(RECORD, lambda: chosen_weight(RECORD.rows, path)) + tail_jobs()


def main() -> None:
    """Run what is not in the record yet, and write the README."""
    from experiments.rivals.plot import main as draw
    from experiments.rivals.report import write

    RECORD.start(config())
    run_jobs(RECORD, jobs())
    write()
    draw()


if __name__ == "__main__":
    one_thread()
    main()
