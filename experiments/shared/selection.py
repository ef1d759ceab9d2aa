"""Jobs of the fusion experiments: weights from a grid on a pool of their own, then runs on the test pools."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.shared.benchmark import SELECTION_SEED
from experiments.shared.jobs import Job
from experiments.shared.methods import Method
from experiments.shared.records import Record, Row, where
from experiments.shared.training import Run, scored

SELECTION_STEPS = 200


def merit(row: Row) -> float:
    """What is maximised when weights are chosen: exact match less excess nats a word."""
    return row["exact"] - row["excess"]


def chosen_weight(rows: Sequence[Row], method: Method, steps: int = SELECTION_STEPS) -> float:
    """Weight of the best selection run of so many steps; 0 for a method without weights.

    Raises
    ------
    ValueError
        When the grid has not been run to its end.
    """
    if not method.grid:
        return 0.0
    own = where(rows, stage="select", method=method.name, steps=steps)
    if {row["weight"] for row in own} != set(method.grid):
        raise ValueError(
            f"the grid of {method.name} has {len(own)} of {len(method.grid)} runs; run the selection first"
        )
    return max(own, key=merit)["weight"]


def path_weight(rows: Sequence[Row], method: Method, path: Method | None) -> float:
    """Chosen weight of path-KL where the method stands on it, else 0."""
    return chosen_weight(rows, path) if method.on_path and path is not None else 0.0


def selection_jobs(
    record: Record, methods: Sequence[Method], path: Method | None = None, steps: int = SELECTION_STEPS
) -> list[Job]:
    """One run a weight of every grid; methods on path-KL must come after path itself."""

    def job(method: Method, weight: float) -> Job:
        def work() -> Row:
            return dict(scored(Run(method, weight, path_weight(record.rows, method, path), steps, SELECTION_SEED)))

        fields = {"stage": "select", "method": method.name, "weight": weight, "seed": SELECTION_SEED}
        longer = f" {steps}" if steps != SELECTION_STEPS else ""
        return Job(f"select {method.name} {weight:g}{longer}", work, {**fields, "steps": steps})

    return [job(method, weight) for method in methods for weight in method.grid]


def final_jobs(
    record: Record,
    methods: Sequence[Method],
    steps: int,
    seeds: Sequence[int],
    replay: bool = False,
    path: Method | None = None,
    chosen_at: int = SELECTION_STEPS,
) -> list[Job]:
    """One run a method and seed, with the weight chosen before in runs of `chosen_at` steps."""

    def job(method: Method, seed: int) -> Job:
        def work() -> Row:
            rows = record.rows
            weight = chosen_weight(rows, method, chosen_at)
            run = Run(method, weight, path_weight(rows, method, path), steps, seed, replay=replay)
            return {"weight": weight, **scored(run)}

        stage = "replay" if replay else "test"
        return Job(
            f"{stage} {method.name} {steps} seed {seed}",
            work,
            {"stage": stage, "method": method.name, "seed": seed, "steps": steps},
        )

    return [job(method, seed) for seed in seeds for method in methods]
