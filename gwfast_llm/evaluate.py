"""Evaluation on held-out examples: excess nats a word where the true probability is known, exact match elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from gwfast_llm.data import Example, encode_all, pad_right


@dataclass(frozen=True)
class TaskScore:
    """Score of one task.

    Attributes
    ----------
    task : str
        Letter or name of the task.
    kind : {"excess", "exact"}
        `excess`: nats a word above the true log-probability, 0 is perfect.  `exact`: share of answers that greedy
        decoding gets right as a whole, 1 is perfect.
    value : float
        The score.
    count : int
        Number of examples.
    """

    task: str
    kind: str
    value: float
    count: int


@torch.no_grad()
def evaluate(model: Any, tokenizer: Any, examples: Sequence[Example], batch_size: int = 100) -> list[TaskScore]:
    """Score a model on examples, task by task.

    Greedy decoding reproduces an answer exactly when every answer token is the most probable one given the answer
    so far, so one forward pass decides it and nothing is generated.

    Parameters
    ----------
    model, tokenizer : transformers objects
        Model with its own tokenizer.
    examples : sequence of Example
        With `log_prob` for stochastic tasks.
    batch_size : int
        Examples a forward pass.

    Returns
    -------
    list of TaskScore
        In order of first appearance of the tasks.
    """
    was_training = model.training
    model.eval()
    tasks: dict[str, list[Example]] = {}
    for example in examples:
        tasks.setdefault(example.task, []).append(example)
    scores = []
    device = next(model.parameters()).device
    for task, own in tasks.items():
        nll, right, words = 0.0, 0, 0
        for start in range(0, len(own), batch_size):
            rows = encode_all(own[start : start + batch_size], tokenizer)
            ids = pad_right([row.ids for row in rows], tokenizer.pad_token_id or 0).to(device)
            mask = pad_right([[1] * len(row.ids) for row in rows], 0).to(device)
            labels = pad_right([row.labels for row in rows], -100).to(device)[:, 1:]
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            nll += F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").item()
            right += int(((logits.argmax(-1) == labels) | (labels == -100)).all(1).sum())
        if own[0].log_prob is not None:
            truth = sum(example.log_prob or 0.0 for example in own)
            words = sum(len(example.response.split()) for example in own)
            scores.append(TaskScore(task, "excess", (nll + truth) / words, len(own)))
        else:
            scores.append(TaskScore(task, "exact", right / len(own), len(own)))
    model.train(was_training)
    return scores


def mean_score(scores: Sequence[TaskScore], kind: str, tasks: str) -> float:
    """Mean score of one kind over the tasks named; NaN where there is none."""
    values = [s.value for s in scores if s.kind == kind and s.task in tasks]
    return sum(values) / len(values) if values else float("nan")
