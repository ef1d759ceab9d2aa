"""Models merged beside all sources at once, and the pivot's own answers beside given ones, on the small benchmark."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from experiments.shared.benchmark import opened, pool, scores
from experiments.shared.jobs import Job
from experiments.shared.methods import by_name
from experiments.shared.models import built
from experiments.shared.records import Row
from experiments.shared.training import BATCH, LEARNING_RATES, WARM_UP, Run, train
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.models.merging import Recipe, merged
from gwfast_llm.text.reading import write_examples
from gwfast_llm.training.fusion import fuse

SEEDS, STEPS = 3, 200
MERGES = {
    "linear": Recipe("linear", (0.5, 0.5)),
    "task_arithmetic x2": Recipe("task_arithmetic", (0.5, 0.5), 2.0),
    "ties": Recipe("ties", (0.5, 0.5), 1.0, 0.2),
    "ties dense": Recipe("ties", (0.5, 0.5), 1.0, 1.0),
}
POLICIES: dict[str, dict[str, Any]] = {
    "given": {},
    "own half": {"on_policy": 0.5},
    "own half, reverse": {"on_policy": 0.5, "reverse": True},
    "given, reverse": {"reverse": True},
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


def policy_row(kind: str, weight: float, seed: int) -> Row:
    """Path-KL by the trainer, on given answers or half of them the pivot's own; as many batches either way."""
    own = POLICIES[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        write_examples(path, list(pool(seed)))
        config = FuseConfig(
            ModelConfig(str(built("pivot"))),
            DataConfig(str(path), max_length=96, end_token=False),
            [SourceConfig(str(built(name)), name=name) for name in "AB"],
            ObjectiveConfig(
                preset="custom",
                path=weight,
                source_top_k=0,
                divergence="reverse" if own.get("reverse") else "forward",
            ),
            TrainConfig(
                steps=STEPS,
                batch_size=BATCH,
                lr=LEARNING_RATES[STEPS],
                warmup_steps=WARM_UP,
                seed=seed,
                log_every=50,
                save_every=0,
                samples=0,
                diagnose=0,
                on_policy=own.get("on_policy", 0.0),
                on_policy_every=10,
                on_policy_length=48,
            ),
        )
        began = time.process_time()
        fused = fuse(config, lambda done, total: None)
        seconds = time.process_time() - began
    return {**scores(fused.model, opened("pivot")[1], seed), "train_seconds": seconds}


def jobs(weight_of_path: Any) -> list[Job]:
    """One job a seed for the merges, one a kind and seed for the answers."""

    def merging(seed: int) -> Job:
        def work() -> Row:
            return {"weight": weight_of_path(), "results": merge_rows(weight_of_path(), seed)}

        return Job(f"merge seed {seed}", work, {"stage": "merge", "method": "path", "seed": seed, "steps": STEPS})

    def policy(kind: str, seed: int) -> Job:
        def work() -> Row:
            torch.manual_seed(seed)
            return {"weight": weight_of_path(), **policy_row(kind, weight_of_path(), seed)}

        fields = {"stage": "policy", "method": kind, "seed": seed, "steps": STEPS}
        return Job(f"policy {kind} seed {seed}", work, fields)

    found = [merging(seed) for seed in range(SEEDS)]
    return found + [policy(kind, seed) for seed in range(SEEDS) for kind in POLICIES]
