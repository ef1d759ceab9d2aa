"""The card of a fused model: what it was made from and how, as README.md in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from gwfast_llm.config import FuseConfig, ModelConfig
from gwfast_llm.reports.markdown import code, markdown
from gwfast_llm.reports.pages import held_out_table

FILL = "to be filled in"


def card_name(model: ModelConfig) -> str:
    """Name of a model for a card: that of the hub, or the last part of a folder, whose path is nobody's business."""
    shown = model.shown.rstrip("/")
    local = Path(model.model).is_absolute() or Path(model.model).is_dir() or shown.startswith((".", "~"))
    return shown.rsplit("/", 1)[-1] if local else shown


def _data_name(where: str) -> str:
    local = where.endswith((".jsonl", ".parquet"))
    return where.rstrip("/").rsplit("/", 1)[-1] if local else where


def model_card(config: FuseConfig, metrics: Sequence[dict[str, Any]], notes: Sequence[str], steps: int) -> str:
    """Markdown of a card, with the header that the hub reads.

    Parameters
    ----------
    config : FuseConfig
        The run.
    metrics : sequence of dict
        What training logged.
    notes : sequence of str
        What the user was told.
    steps : int
        Optimiser steps.
    """
    names = [card_name(config.pivot), *map(card_name, config.sources)]
    kind = "adapter" if config.lora.export == "adapter" else "finetune"
    hub = [name for name in names[:1] if "/" in name]
    header: dict[str, Any] = {"library_name": "peft" if kind == "adapter" else "transformers"}
    if hub:
        header |= {"base_model": hub, "base_model_relation": kind}
    header |= {"license": "other", "license_name": "to-be-filled-in", "tags": ["gwfast", "distillation"]}
    weights = ", ".join(f"{weight:g} {name}" for name, weight in config.objective.weights.items() if weight)
    how = f"adapters of rank {config.lora.rank}" if config.lora.rank else "all weights"
    made = f"what {len(config.sources)} source model(s) say about them" if config.sources else "the examples alone"
    table = [
        "| | |",
        "|---|---|",
        f"| pivot | {code(names[0])} |",
        *(f"| source | {code(n)}, weight {one.weight:g} |" for n, one in zip(names[1:], config.sources, strict=True)),
        f"| training data | {code(_data_name(config.data.train))} |",
        f"| objective | {weights} ({config.objective.preset}), routing {config.objective.routing} |",
        f"| trained | {how}, {steps} steps of {config.train.batch_size} x {config.train.accumulate} examples, learning "
        f"rate {config.train.lr:g}, seed {config.train.seed} |",
    ]
    blocks = [
        f"---\n{yaml.safe_dump(header, sort_keys=False).strip()}\n---",
        f"# {markdown(names[0].rsplit('/', 1)[-1])}, fused",
        f"A language model trained on examples with {made}.",
        "\n".join(table),
        "## Scores",
        _scores(metrics),
        "## Licences",
        f"Of the pivot: {FILL}.  Of the sources, some of which may forbid to train on what they say: {FILL}.  Of the "
        f"data: {FILL}.",
    ]
    if notes:
        blocks += ["## Notes", "\n".join(f"* {markdown(note)}" for note in notes)]
    return "\n\n".join(blocks) + "\n"


def _scores(metrics: Sequence[dict[str, Any]]) -> str:
    found = held_out_table(metrics)
    if not found:
        return "No held-out scores: `data.validation` was not set, or `train.eval_every` was 0."
    return f"{found}\n\nOne seed, on held-out examples of the same data."
