"""Scores of a model on held-out examples, from one forward pass and without generation."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gwfast_llm.config import DataConfig, ModelConfig
from gwfast_llm.models.logits import Selection
from gwfast_llm.models.output_layer import ChunkedHead, Request
from gwfast_llm.teachers.online import CHUNK
from gwfast_llm.text.examples import Example, encode_all, end_token_of, pad_right


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
    nats_a_byte : float
        Negative log-likelihood of the answers over their length in UTF-8.
    """

    task: str
    kind: str
    value: float
    count: int
    nats_a_byte: float


@torch.no_grad()
def evaluate(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    batch_size: int = 100,
    end_token: int | None = None,
    date: str = "",
) -> list[TaskScore]:
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
    end_token : int, optional
        Token that closes every answer, part of the score.
    date : str
        Date that a chat template prints, as 2026-01-31; today's where empty.

    Returns
    -------
    list of TaskScore
        In order of first appearance of the tasks.

    Notes
    -----
    Cost: one forward pass; logits of 2048 answer tokens are alive at one time.
    """
    was_training = model.training
    model.eval()
    tasks: dict[str, list[Example]] = {}
    for example in examples:
        tasks.setdefault(example.task, []).append(example)
    scores = []
    device = next(model.parameters()).device
    head = ChunkedHead(model, CHUNK)
    for task, own in tasks.items():
        nll, right, words = 0.0, 0, 0
        for start in range(0, len(own), batch_size):
            rows = encode_all(own[start : start + batch_size], tokenizer, end_token=end_token, date=date)
            ids = pad_right([row.ids for row in rows], tokenizer.pad_token_id or 0).to(device)
            mask = pad_right([[1] * len(row.ids) for row in rows], 0).to(device)
            labels = pad_right([[*row.labels[1:], -100] for row in rows], -100).to(device)
            positions = labels != -100
            gold = labels[positions]
            head.pending = Request(
                positions.flatten().nonzero()[:, 0], (len(rows), ids.shape[1]), gold[:, None], Selection(1)
            )
            model(input_ids=ids, attention_mask=mask, use_cache=False)
            found = head.answer()
            assert found.kept is not None
            nll += float((found.logsumexp - found.asked[:, 0]).double().sum())
            wrong = positions.nonzero()[found.kept.ids[:, 0] != gold, 0]
            right += len(rows) - len(wrong.unique())
        per_byte = nll / sum(len(example.response.encode()) for example in own)
        if own[0].log_prob is not None:
            truth = sum(example.log_prob or 0.0 for example in own)
            words = sum(len(example.response.split()) for example in own)
            scores.append(TaskScore(task, "excess", (nll + truth) / words, len(own), per_byte))
        else:
            scores.append(TaskScore(task, "exact", right / len(own), len(own), per_byte))
    head.release()
    model.train(was_training)
    return scores


def score_stored(one: ModelConfig, examples: Sequence[Example], data: DataConfig, batch_size: int) -> list[TaskScore]:
    """Load a model, on the GPU where there is one, and score it; see `evaluate`."""
    from gwfast_llm.models.loading import load_model, load_tokenizer

    tokenizer, model = load_tokenizer(one), load_model(one)
    if torch.cuda.is_available():
        model = model.to("cuda")
    return evaluate(model, tokenizer, examples, batch_size, closing_of(tokenizer, examples, data), data.date)


def closing_of(tokenizer: Any, examples: Sequence[Example], data: DataConfig) -> int | None:
    """Token that closes every answer; None where the configuration asks for none."""
    return end_token_of(tokenizer, any(example.messages for example in examples)) if data.end_token else None


def mean_score(scores: Sequence[TaskScore], kind: str, tasks: str) -> float:
    """Mean score of one kind over the tasks named; NaN where there is none."""
    values = [s.value for s in scores if s.kind == kind and s.task in tasks]
    return sum(values) / len(values) if values else float("nan")


def usable_examples(data: DataConfig, models: Sequence[ModelConfig]) -> list[Example]:
    """Held-out examples that every model can be scored on; what is left out is said, or stops the command."""
    from gwfast_llm.models.loading import load_tokenizer
    from gwfast_llm.models.positions import check_positions
    from gwfast_llm.text.examples import prepare
    from gwfast_llm.text.reading import read_data

    read = read_data(data.validation, data)
    whole = dataclasses.replace(data, max_length=sys.maxsize)  # answers are scored whole
    done = prepare(read.examples, [load_tokenizer(one) for one in models], whole)
    for one, rows in zip(models, done.rows):
        longest = max(len(row.ids) for row in rows)
        check_positions(one, longest, "the longest held-out example", "leave it out, or give a model with more")
    for note in read.notes + done.notes:
        print(f"note: {note}", file=sys.stderr)
    return done.examples
