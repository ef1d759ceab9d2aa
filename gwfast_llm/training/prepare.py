"""The first stage: what is checked before any work, and the tokenized data of a run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gwfast_llm.config import FuseConfig, SourceConfig
from gwfast_llm.models.elsewhere import is_elsewhere
from gwfast_llm.models.loading import check_weights, load_tokenizer
from gwfast_llm.models.positions import check_positions, positions_note
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.dates import pinned
from gwfast_llm.terms.objective import Objective
from gwfast_llm.terms.term import Needs
from gwfast_llm.text.examples import Encoded, Example, prepare
from gwfast_llm.text.reading import ReadData, read_data
from gwfast_llm.text.templates import prints_date
from gwfast_llm.training.loggers import check_loggers


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
        if not is_elsewhere(model):
            check_positions(model, config.data.max_length, "data.max_length")
    data = pinned(config).data
    train = read_data(data.train, data)
    held_out = read_data(data.validation, data) if data.validation else ReadData([], [])
    own = prepare(train.examples, tokenizers, data)
    notes = train.notes + own.notes
    for model, rows in zip((config.pivot, *sources), own.rows):
        longer = "" if is_elsewhere(model) else positions_note(model, [len(row.ids) for row in rows])
        notes += [longer] if longer else []
    talks = any(e.messages for e in own.examples)
    date = data.date if talks and any(map(prints_date, tokenizers)) else ""
    if not held_out.examples:
        return PreparedRun(tokenizers, own.examples, len(own.examples), own.rows, notes, date)
    other = prepare(held_out.examples, tokenizers, data)
    notes += [f"held out: {note}" for note in held_out.notes + other.notes]
    rows = [a + b for a, b in zip(own.rows, other.rows)]
    return PreparedRun(tokenizers, own.examples + other.examples, len(own.examples), rows, notes, date)


@dataclass(frozen=True)
class Prepared:
    """What a fusion consists of before any weights are loaded.

    Attributes
    ----------
    config : FuseConfig
        The configuration, epochs counted in steps.
    needs : Needs
        What the terms need.
    sources : list of SourceConfig
        Sources that take part; none for plain fine-tuning.
    data : PreparedRun
        Tokenized data.
    sharded : bool
        Whether the model is spread over processes, none of which can run it on its own.
    """

    config: FuseConfig
    needs: Needs
    sources: list[SourceConfig]
    data: PreparedRun
    sharded: bool

    @property
    def tokenizer(self) -> Any:
        """The pivot's tokenizer."""
        return self.data.tokenizers[0]

    @property
    def rows(self) -> list[Encoded]:
        """Examples under the pivot's tokenizer."""
        return self.data.rows[0]

    @property
    def looks_ahead(self) -> bool:
        """Whether an observer looks at held-out examples."""
        train = self.config.train
        return bool(self.config.data.validation) and bool(train.interval_every or train.diagnose)


def prepare_fusion(config: FuseConfig) -> Prepared:
    """Check a configuration and tokenize its data.

    Parameters
    ----------
    config : FuseConfig
        The run.

    Returns
    -------
    Prepared

    Raises
    ------
    FusionError
        When terms, loggers, weights, tokenizers or data cannot be used, naming which and why.
    """
    check_loggers(config.train.report_to)
    objective = Objective.of(config.objective, 1)
    needs = objective.needs
    if needs.sources and not config.sources:
        named = ", ".join(own.term.name for own in objective.terms if own.term.needs.sources)
        raise FusionError(f"sources is empty, but {named} needs some; give sources")
    whole = [own.term.name for own in objective.terms if own.term.needs.whole]
    looks_ahead = bool(config.data.validation) and bool(config.train.interval_every or config.train.diagnose)
    sources = config.sources if needs.sources or looks_ahead else []
    for model in (config.pivot, *(source for source in sources if not source.cache)):
        check_weights(model)
    data = prepare_run(config, sources)
    if whole and config.train.chunk > 0:
        raise FusionError(f"objective.{whole[0]} needs whole logits; use --train.chunk 0")
    # neither before nor after sharding can one process run the whole model on its own
    sharded = any(os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() == "true" for kind in ("FSDP", "DEEPSPEED"))
    if config.lora.four_bit and sharded:
        raise FusionError(
            "lora.four_bit does not go with FSDP or DeepSpeed; run it without them, each process then holds the "
            "model in 4 bits, or use --lora.four_bit false"
        )
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    steps = config.train.steps_on(data.size, processes)
    every = config.train.eval_every if config.data.validation else 0
    # the evaluations before and after are made wherever there are any
    train = dataclasses.replace(config.train, steps=steps, epochs=0.0, eval_every=steps if every < 0 else every)
    return Prepared(dataclasses.replace(config, train=train), needs, sources, data, sharded)
