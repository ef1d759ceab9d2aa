"""``python -m gwfast_llm.evaluate``: score models on held-out examples, and by lm-evaluation-harness where installed.

Excess nats a word where the true probability of the text is known; exact match of the whole answer and nats a byte
elsewhere.  Nats a byte can be compared across tokenizers.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gwfast_llm.chunked import ChunkedHead, Request
from gwfast_llm.cli import config_parser, guard, parse
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig
from gwfast_llm.data import Example, encode_all, pad_right
from gwfast_llm.errors import FusionError
from gwfast_llm.logits import Selection
from gwfast_llm.signal import CHUNK


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
            head.pending = Request(positions, gold[:, None], Selection(1))
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


def mean_score(scores: Sequence[TaskScore], kind: str, tasks: str) -> float:
    """Mean score of one kind over the tasks named; NaN where there is none."""
    values = [s.value for s in scores if s.kind == kind and s.task in tasks]
    return sum(values) / len(values) if values else float("nan")


DESCRIPTION = """Score models on held-out examples.

With --config the pivot and every source are scored on data.validation; --models adds folders, for instance a run's
model.  --tasks runs tasks of lm-evaluation-harness on the same models, by name or by the path of a YAML file
(pip install 'gwfast-ot[eval]'); --data.chat puts their questions into each model's chat template."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config_parser("evaluate", DESCRIPTION)
    parser.add_argument("--models", type=list[str], default=[], help="folders or hub names to score too")
    parser.add_argument(
        "--tasks", type=list[str], default=[], help="tasks of lm-evaluation-harness, by name or YAML file"
    )
    parser.add_argument("--batch", type=int, default=16, help="examples a forward pass")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return guard(lambda: _run(*parse(parser, arguments)))


def _run(options: Any, config: FuseConfig | None) -> int:
    if config is None:
        raise FusionError("--config is missing; give the configuration of a fusion")
    if options.batch < 1:
        raise FusionError(f"--batch is {options.batch}; expected at least 1")
    from gwfast_llm.data import end_token_of
    from gwfast_llm.dates import pinned
    from gwfast_llm.harness import Harness
    from gwfast_llm.loading import check_weights, load_model, load_tokenizer

    if not config.data.validation and not options.tasks:
        raise FusionError("data.validation is empty; give held-out examples, or --tasks")
    harness = Harness(options.tasks) if options.tasks else None
    data = pinned(config).data
    models = [config.pivot, *config.sources, *map(ModelConfig, options.models)]
    for one in models:
        check_weights(one)  # a mistake in the last one should not wait for the scores of all others
    examples = _usable(data, models) if data.validation else []
    for one in models:
        tokenizer, model = load_tokenizer(one), load_model(one)
        if torch.cuda.is_available():
            model = model.to("cuda")
        if examples:
            chat = any(example.messages for example in examples)
            end = end_token_of(tokenizer, chat) if data.end_token else None
            for score in evaluate(model, tokenizer, examples, options.batch, end, data.date):
                _print(one.shown, score, options.json)
        if harness:
            for found in harness.scores(one.shown, model, tokenizer, options.batch, data.chat):
                _print_harness(one.shown, found, options.json)
    return 0


def _usable(data: DataConfig, models: Sequence[ModelConfig]) -> list[Example]:
    """Held-out examples that every model can be scored on; what is left out is said, or stops the command."""
    from gwfast_llm.data import prepare
    from gwfast_llm.files import read_data
    from gwfast_llm.loading import load_tokenizer
    from gwfast_llm.positions import check_positions

    read = read_data(data.validation, data)
    whole = dataclasses.replace(data, max_length=sys.maxsize)  # answers are scored whole
    done = prepare(read.examples, [load_tokenizer(one) for one in models], whole)
    for one, rows in zip(models, done.rows):
        longest = max(len(row.ids) for row in rows)
        check_positions(one, longest, "the longest held-out example", "leave it out, or give a model with more")
    for note in read.notes + done.notes:
        print(f"note: {note}", file=sys.stderr)
    return done.examples


def _print(name: str, score: TaskScore, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"model": name, **dataclasses.asdict(score)}))
    else:
        kind = "excess nats a word" if score.kind == "excess" else "exact match"
        task = score.task or "all"
        print(f"{name}  {task}: {kind} {score.value:.4f}, {score.nats_a_byte:.4f} nats a byte, {score.count} examples")


def _print_harness(name: str, score: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"model": name, **dataclasses.asdict(score)}))
    else:
        numbers = ", ".join(f"{key} {value:.4f}" for key, value in score.numbers.items())
        print(f"{name}  {score.task}: {numbers}, {score.count} examples")


if __name__ == "__main__":
    sys.exit(main())
