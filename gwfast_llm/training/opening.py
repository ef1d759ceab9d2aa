"""The third stage: the sources opened, their maps into the pivot's vocabulary, and what the terms prepare with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from gwfast_llm.config import ObjectiveConfig, SourceConfig
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.desk import Carrier, SourceDesk, path_maps
from gwfast_llm.teachers.signal import Source
from gwfast_llm.terms.objective import Objective
from gwfast_llm.terms.term import SourceTexts
from gwfast_llm.training.prepare import Prepared
from gwfast_llm.training.sources import carried_beforehand, open_source, open_targets


@dataclass(frozen=True)
class OpenSources:
    """The sources of a run, ready to be asked.

    Attributes
    ----------
    desk : SourceDesk or None
        Asks them; None where none takes part.
    objective : Objective
        Terms of the run, with as many source slots as the desk fills.
    notes : list of str
        What the user should know.
    """

    desk: SourceDesk | None
    objective: Objective
    notes: list[str]


def open_sources(prepared: Prepared, quiet: bool) -> OpenSources:
    """Open the sources of a run: from their caches, else as running models.

    Parameters
    ----------
    prepared : Prepared
        The run.
    quiet : bool
        Print nothing.

    Raises
    ------
    FusionError
        When a cache does not fit the run, or a term cannot be used with these tokenizers.
    """
    config, data = prepared.config, prepared.data
    if not prepared.sources:
        return OpenSources(None, Objective.of(config.objective, 0), [])
    keep, size = config.objective.source_top_k, data.size
    sources = [
        open_source(source, its, rows, keep, size, data.date)
        for source, its, rows in zip(prepared.sources, data.tokenizers[1:], data.rows[1:])
    ]
    _check_raw(config.objective, sources)
    maps = path_maps(prepared.tokenizer, prepared.rows[:size], sources, data.examples[:size])
    texts = [[row.ids for row in own[:size]] for own in data.rows]
    opened = [SourceTexts(s.name, path, own) for s, path, own in zip(sources, maps, texts[1:])]
    carriers: dict[str, list[Carrier]] = {}
    notes: list[str] = []
    for own in Objective.of(config.objective, 1).terms:
        made = own.term.prepare(texts[0], opened)
        if made.carriers:
            carriers[own.term.name] = list(made.carriers)
        notes += made.notes
    if notes and not quiet and int(os.environ.get("RANK", "0")) == 0:
        print("\n".join(notes))
    stored = [open_targets(config, k, data, source) for k, source in enumerate(sources)]
    notes += [
        f"source {source.name}: its targets are carried along the text while training; python -m gwfast_llm.cache "
        "with this configuration would do so once"
        for k, (source, found) in enumerate(zip(sources, stored))
        if found is None and carried_beforehand(config, k, data)
    ]
    weights, more = weights_of(prepared.sources, config.objective.routing)
    notes += more
    desk = SourceDesk(prepared.rows, sources, weights, maps, config.objective.routing, keep, carriers, stored)
    return OpenSources(desk, Objective.of(config.objective, desk.slots if prepared.needs.sources else 0), notes)


def weights_of(sources: Sequence[SourceConfig], routing: str) -> tuple[list[float], list[str]]:
    """Weights of the sources in the loss, and what the user should know of them.

    Examples
    --------
    >>> weights_of([SourceConfig("a"), SourceConfig("b", weight=3.0)], "mean")[0]
    [0.25, 0.75]
    """
    weights = [source.weight for source in sources]
    total = sum(weights)
    if routing == "mean" and total:
        return [weight / total for weight in weights], []
    if routing == "all" and len(weights) > 1:
        return weights, [
            f"objective.routing all: the losses of {len(weights)} sources add up to {total:g} times that of one; mean "
            "divides their weights by that"
        ]
    return weights, []


def _check_raw(objective: ObjectiveConfig, sources: Sequence[Source]) -> None:
    """Refuse terms on raw logits of sources that give none."""
    without = [source.name for source in sources if not getattr(source, "raw", True)]
    terms = [own.term.name for own in Objective.of(objective, 1).terms if own.term.on_raw_logits]
    if without and terms:
        raise FusionError(
            f"objective.{terms[0]} works on raw logits, and source {without[0]} was served as log-probabilities; leave "
            "objective.gld_raw out and gld_weights at log_probs, or use another objective"
        )
