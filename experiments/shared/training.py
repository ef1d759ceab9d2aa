"""One training run of the benchmark: the losses of `gwfast_llm`, a plain loop, equal budgets for every objective."""

from __future__ import annotations

import copy
import dataclasses
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experiments.shared.benchmark import opened, pool, scores, table
from experiments.shared.controls import ShuffledDesk, with_edges
from experiments.shared.methods import Method
from gwfast_llm.student.forward import run_student
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective, Weighted
from gwfast_llm.training.gradient_watch import FIRST, measured_limits, share_of

BATCH, WARM_UP, WEIGHT_DECAY, LARGEST_GRADIENT = 16, 20, 0.01, 1.0
LEARNING_RATES = {200: 2e-3, 400: 1e-3}
SHORT_RATE = 5e-4


@dataclass(frozen=True)
class Run:
    """What defines a training run.

    Attributes
    ----------
    method : Method
        The objective.
    weight, path_weight : float
        Weights of its parts, and of path-KL where it stands on that.
    steps : int
        Optimiser steps; a short method takes a quarter of them.
    seed : int
        Seed of examples and order.
    pivot : str
        Model to train.
    replay : bool
        Add examples of the pivot's own dialect.
    lr : float
        Largest learning rate; 0 for that of the number of steps.
    routing : {"mince", "all"}
        See `gwfast_llm.config.ObjectiveConfig`.
    keep : int
        Logits kept of a source and tokens of a target; 0 for all.
    """

    method: Method
    weight: float
    path_weight: float
    steps: int
    seed: int
    pivot: str = "pivot"
    replay: bool = False
    lr: float = 0.0
    routing: str = "mince"
    keep: int = 0

    @property
    def optimiser_steps(self) -> int:
        """Steps that are really taken."""
        return self.steps // 4 if self.method.short else self.steps

    @property
    def learning_rate(self) -> float:
        """Largest learning rate."""
        return self.lr or (SHORT_RATE if self.method.short else LEARNING_RATES[self.steps])


LIMITS: dict[
    tuple[str, int, int], dict[str, float]
] = {}  # weights of limited terms at the end of the runs of this process


def limited_weights(run: Run) -> dict[str, float]:
    """Weights at which the terms of a run ended that were limited on the first batches."""
    return LIMITS[run.method.name, run.steps, run.seed]


def loss_of(model: Any, batch: Batch, objective: Objective) -> Tensor:
    """The objective on a batch: every part divided by its number of items, weighted and summed."""
    student, _ = run_student(model, batch, objective, None)
    total = batch.labels.new_zeros((), dtype=torch.float32)
    parts, counts = objective.values(student, batch), objective.counts(batch)
    for weight, part, count in zip(objective.weights, parts, counts, strict=True):
        total = total + weight * part.total / count.clamp_min(1)
    return total


def train(run: Run, look: Callable[[int, Any], None] = lambda step, model: None) -> Any:
    """Train a copy of the pivot.

    Parameters
    ----------
    run : Run
        What to train.
    look : callable
        Called with (step, model) before the first step and after every one.

    Returns
    -------
    transformers.PreTrainedModel
    """
    torch.manual_seed(run.seed)
    random.seed(run.seed)
    model = copy.deepcopy(opened(run.pivot)[0])
    objective = run.method.objective(run.weight, run.path_weight)
    objective = with_edges(dataclasses.replace(objective, routing=run.routing), run.method.edges)
    laid = table(run.seed, run.method.sources, run.replay, run.routing, run.keep)
    desk = laid.desk
    if run.method.teacher != "own":
        desk = ShuffledDesk(desk, laid.tasks, run.method.teacher == "shuffled in task", run.seed)
    collator = FusionCollator(laid.rows, opened("pivot")[1].pad_token_id, objective, desk)
    terms = Objective.of(objective, desk.slots)
    steps, size = run.optimiser_steps, len(pool(run.seed, run.replay))
    optimiser = torch.optim.AdamW(model.parameters(), lr=run.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / WARM_UP, (steps - i) / max(1, steps - WARM_UP))
    )
    draw, order, pulls, given = random.Random(run.seed), [], [], terms
    model.train()
    look(0, model)
    for step in range(1, steps + 1):
        if len(order) < BATCH:  # the rest of an epoch that fills no batch is dropped
            order = draw.sample(range(size), size)
        batch, order = collator(order[:BATCH]), order[BATCH:]
        if step <= FIRST and any(own.term.most for own in given.terms):
            pulls += measured_limits(model, [batch], given, None, step - 1, lambda values: values)
            terms = dataclasses.replace(
                given,
                terms=tuple(Weighted(w.term, w.weight * share_of(pulls, w.term.name)) for w in given.terms),
            )
            LIMITS[run.method.name, run.steps, run.seed] = {w.term.name: w.weight for w in terms.terms if w.term.most}
        loss = loss_of(model, batch, terms)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        look(step, model)
    return model.eval()


def scored(run: Run) -> dict[str, float]:
    """Train and score."""
    table(
        run.seed, run.method.sources, run.replay, run.routing, run.keep
    )  # laid out once a process, not part of the time
    started = time.perf_counter()
    model = train(run)
    seconds = time.perf_counter() - started
    found = scores(model, opened("pivot")[1], run.seed)
    return {**found, "train_seconds": seconds}
