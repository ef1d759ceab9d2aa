"""Data, sources and scores of the small fusion benchmark, prepared once a process."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import transformers

from experiments.shared.models import built
from gwfast_llm.config import ModelConfig
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.reports.scoring import evaluate
from gwfast_llm.teachers.desk import SourceDesk, path_maps
from gwfast_llm.teachers.online import OnlineSource, Remembered
from gwfast_llm.text.examples import Encoded, Example, encode_all
from gwfast_llm.tiny.tasks import ALL_TASKS, EXACT_TASKS, Problem, draw_each

FUSED_TASKS, FUSED_TEXTS = "MNABDSL", "MN"
EXAMPLES, REPLAYED = 50, 50  # a task
SELECTION_SEED = 100  # pool on which weights are chosen; seeds 0, 1, ... are for testing
POOL_SEED, TEST_SEED, VALIDATION_SEED, HELD_OUT_SEED = 1000, 999, 301, 300
TESTS, VALIDATIONS, HELD_OUT = 200, 100, 64  # a task
SEEDS = 5


def _examples(problems: list[Problem]) -> list[Example]:
    return [Example(p.prompt, p.response, p.task, p.log_prob) for p in problems]


@functools.cache
def pool(seed: int, replay: bool = False) -> tuple[Example, ...]:
    """Fusion examples of a seed, with examples of the pivot's own dialect where `replay`."""
    problems = draw_each(FUSED_TASKS, EXAMPLES, POOL_SEED + seed)
    if replay:
        problems = problems + draw_each("O", REPLAYED, POOL_SEED + 500 + seed)
    return tuple(_examples(problems))


@functools.cache
def tests(seed: int) -> tuple[Example, ...]:
    """Problems of every task outside the pool of a seed: other draws for choosing weights than for testing.

    Task L has 112 problems in all, so that no set of them could avoid the pools of every seed.
    """
    used = draw_each(FUSED_TASKS, EXAMPLES, POOL_SEED + seed) + draw_each("O", REPLAYED, POOL_SEED + 500 + seed)
    if seed == SELECTION_SEED:
        return tuple(_examples(draw_each(ALL_TASKS, VALIDATIONS, VALIDATION_SEED, avoid=used)))
    return tuple(_examples(draw_each(ALL_TASKS, TESTS, TEST_SEED + seed, avoid=used)))


@functools.cache
def held_out() -> tuple[Example, ...]:
    """Problems of the fused tasks for diagnostics along training; the exact tasks' may be in a pool."""
    return tuple(_examples(draw_each(FUSED_TASKS, HELD_OUT, HELD_OUT_SEED)))


@functools.cache
def opened(name: str) -> tuple[Any, Any]:
    """Model and tokenizer by name, to be copied before training."""
    transformers.utils.logging.disable_progress_bar()
    config = ModelConfig(str(built(name)))
    return load_model(config), load_tokenizer(config)


@dataclass(frozen=True)
class Table:
    """A pool under the pivot's tokenizer, with the sources ready to answer on it.

    Attributes
    ----------
    rows : list of Encoded
        Training examples, then held-out ones.
    tasks : list of str
        Task of every training example.
    desk : SourceDesk
        The sources; their answers are remembered.
    """

    rows: list[Encoded]
    tasks: list[str]
    desk: SourceDesk


@functools.cache
def table(seed: int, sources: tuple[str, ...], replay: bool = False, routing: str = "mince", keep: int = 0) -> Table:
    """Lay out a pool for these sources; maps are counted on the training examples alone."""
    own = list(pool(seed, replay))
    examples = own + list(held_out())
    tokenizer = opened("pivot")[1]
    rows = encode_all(examples, tokenizer)
    speakers = []
    for name in sources:
        model, its = opened(name)
        speakers.append(Remembered(OnlineSource(name, model, its, encode_all(examples, its), keep)))
    maps = path_maps(tokenizer, rows[: len(own)], speakers, own)
    desk = SourceDesk(rows, speakers, [1.0] * len(speakers), maps, routing, keep)
    return Table(rows, [e.task for e in own], desk)


def scores(model: Any, tokenizer: Any, seed: int) -> dict[str, float]:
    """Score of every task on the tests of a seed, with the means `excess` (M and N, nats a word) and `exact`."""
    found = {s.task: float(s.value) for s in evaluate(model, tokenizer, tests(seed))}
    found["excess"] = sum(found[t] for t in FUSED_TEXTS) / len(FUSED_TEXTS)
    found["exact"] = sum(found[t] for t in EXACT_TASKS) / len(EXACT_TASKS)
    return found
