"""What is run on real weights: problems, steps, seeds, and the configuration of one run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from experiments.real_fusion import parts
from experiments.real_fusion.data import TASKS, drawn
from experiments.real_fusion.methods import KEEP, PUBLISHED, RIVALS
from experiments.shared.records import Row
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.text.reading import write_examples

SEEDS = (0, 1)
PROBLEMS = {"expert": 72, "fusion": 32, "tests": 40, "choice": 12, "more": 120}  # a task
PLAIN = TrainConfig(batch_size=8, diagnose=0, samples=0, packing=True)
EXPERT_TRAIN = dataclasses.replace(PLAIN, steps=45, lr=2e-4, warmup_steps=5, log_every=15)
# For the rivals: an expert that knows more than the pivot learns from the examples alone
STRONG_TRAIN = dataclasses.replace(EXPERT_TRAIN, steps=150, log_every=25)
PIVOT_TRAIN = dataclasses.replace(PLAIN, steps=20, lr=1e-4, warmup_steps=4, log_every=5)
# Weights are chosen with a seed and problems of their own; in shorter runs others were best
CHOICE_TRAIN = dataclasses.replace(PIVOT_TRAIN, seed=2)
LONGEST = 192


def config() -> Row:
    """What is run."""
    return {
        "weights": parts.WEIGHTS,
        "tokenizer": parts.TOKENIZER,
        "tasks": TASKS,
        "problems_a_task": PROBLEMS,
        "expert": dataclasses.asdict(EXPERT_TRAIN),
        "strong": dataclasses.asdict(STRONG_TRAIN),
        "pivot": dataclasses.asdict(PIVOT_TRAIN),
        "choice": dataclasses.asdict(CHOICE_TRAIN),
        "source_top_k": KEEP,
        "objectives": [m.name for m in PUBLISHED],
        "rivals": {m.name: list(m.grid) for m in RIVALS},
        "seeds": list(SEEDS),
    }


def problems(home: Path) -> dict[str, Path]:
    """Files of the problems, none in two but `strong`, which is those of the expert and `more`."""
    paths = {name: home / f"{name}.jsonl" for name in (*PROBLEMS, "strong")}
    if not all(path.is_file() for path in paths.values()):
        used: set[str] = set()
        drawn_by = {name: drawn(11 + k, each, used) for k, (name, each) in enumerate(PROBLEMS.items())}
        for name, examples in {**drawn_by, "strong": drawn_by["expert"] + drawn_by["more"]}.items():
            write_examples(paths[name], examples)
    return paths


def run_of(
    home: Path, model: Path, data: Path, objective: ObjectiveConfig, train: TrainConfig, expert: str = "expert"
) -> FuseConfig:
    """The configuration of a run; this expert is its source where the objective asks one."""
    source = SourceConfig(str(home / expert), name=expert, cache=str(home / f"cache-{expert}"))
    return FuseConfig(
        ModelConfig(str(model)),
        DataConfig(str(data), chat=True, max_length=LONGEST),
        [source] if objective.distils else [],
        objective,
        train,
    )
