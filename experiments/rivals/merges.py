"""Models merged beside all sources at once, on the small benchmark."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

from experiments.shared.benchmark import opened, scores
from experiments.shared.jobs import Job
from experiments.shared.methods import by_name
from experiments.shared.records import Row
from experiments.shared.training import Run, train
from gwfast_llm.models.merging import Recipe, merged

SEEDS, STEPS = 3, 200
MERGES = {
    "linear": Recipe("linear", (0.5, 0.5)),
    "task_arithmetic x2": Recipe("task_arithmetic", (0.5, 0.5), 2.0),
    "ties": Recipe("ties", (0.5, 0.5), 1.0, 0.2),
    "ties dense": Recipe("ties", (0.5, 0.5), 1.0, 1.0),
}


def merge_rows(weight: float, seed: int) -> list[Row]:
    """Path-KL with all sources, with each source alone, and the latter merged in every way."""
    path = by_name("path")
    alone = [train(Run(dataclasses.replace(path, sources=(name,)), weight, 0.0, STEPS, seed)) for name in "AB"]
    together = train(Run(path, weight, 0.0, STEPS, seed))
    base, tokenizer = opened("pivot")[0].state_dict(), opened("pivot")[1]
    found = [("together", together), ("A alone", alone[0]), ("B alone", alone[1])]
    for name, recipe in MERGES.items():
        states = [model.state_dict() for model in alone]
        made = {key: merged(base[key], [state[key] for state in states], recipe) for key in base}
        found.append((name, made))
    rows = []
    spare = copy.deepcopy(together)
    for name, model in found:
        if isinstance(model, dict):
            spare.load_state_dict(model)
            model = spare
        rows.append({"name": name, **scores(model, tokenizer, seed)})
    return rows


def jobs(weight_of_path: Callable[[], float]) -> list[Job]:
    """One job a seed."""

    def job(seed: int) -> Job:
        def work() -> Row:
            return {"weight": weight_of_path(), "results": merge_rows(weight_of_path(), seed)}

        return Job(f"merge seed {seed}", work, {"stage": "merge", "method": "path", "seed": seed, "steps": STEPS})

    return [job(seed) for seed in range(SEEDS)]
