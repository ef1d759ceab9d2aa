"""Tokenized data of a run: what the commands share before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gwfast_llm.config import FuseConfig, SourceConfig
from gwfast_llm.models.loading import load_tokenizer
from gwfast_llm.models.positions import check_positions
from gwfast_llm.teachers.dates import pinned
from gwfast_llm.text.examples import Encoded, Example, prepare
from gwfast_llm.text.reading import ReadData, read_data
from gwfast_llm.text.templates import prints_date


@dataclass(frozen=True)
class PreparedRun:
    """Tokenized data of a run.

    Attributes
    ----------
    tokenizers : list
        The pivot's, then those of the sources.
    examples : list of Example
        Training examples, then held-out ones.
    size : int
        Number of training examples.
    rows : list of list of Encoded
        The examples under every tokenizer.
    notes : list of str
        What was left out or cut.
    date : str
        Date in the prompts; empty where no chat template prints it.
    """

    tokenizers: list[Any]
    examples: list[Example]
    size: int
    rows: list[list[Encoded]]
    notes: list[str]
    date: str = ""


def prepare_run(config: FuseConfig, sources: Sequence[SourceConfig]) -> PreparedRun:
    """Load tokenizers and data of a configuration and bring them together.

    Parameters
    ----------
    config : FuseConfig
        The run.
    sources : sequence of SourceConfig
        Sources that take part; none for plain fine-tuning.

    Returns
    -------
    PreparedRun
    """
    tokenizers = [load_tokenizer(config.pivot), *map(load_tokenizer, sources)]
    for model in (config.pivot, *sources):
        check_positions(model, config.data.max_length, "data.max_length")
    data = pinned(config).data
    train = read_data(data.train, data)
    held_out = read_data(data.validation, data) if data.validation else ReadData([], [])
    own = prepare(train.examples, tokenizers, data)
    notes = train.notes + own.notes
    talks = any(e.messages for e in own.examples)
    date = data.date if talks and any(map(prints_date, tokenizers)) else ""
    if not held_out.examples:
        return PreparedRun(tokenizers, own.examples, len(own.examples), own.rows, notes, date)
    other = prepare(held_out.examples, tokenizers, data)
    notes += [f"held out: {note}" for note in held_out.notes + other.notes]
    rows = [a + b for a, b in zip(own.rows, other.rows)]
    return PreparedRun(tokenizers, own.examples + other.examples, len(own.examples), rows, notes, date)
