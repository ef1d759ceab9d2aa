"""The variations, each a method that differs from a published one in one respect."""

from __future__ import annotations

import dataclasses

from experiments.shared.methods import UNIT_GRID, Method, by_name
from gwfast_llm.config import ObjectiveConfig

COUNTS = (5, 10, 15, 20, 25, 30)
SOURCES = {1: ("A",), 2: ("A", "B"), 3: ("A", "B", "C")}


def _with(base: Method, name: str, options: ObjectiveConfig) -> Method:
    return dataclasses.replace(base, name=name, options=options)


def kept_logits() -> list[Method]:
    """InfiGFusion with other numbers of kept logits."""
    base = by_name("infigfusion")
    found = [_with(base, f"k = {k}", ObjectiveConfig(top_k=k, gld_raw=True)) for k in COUNTS]
    most = max(COUNTS)
    found.append(_with(base, "mass 0.9", ObjectiveConfig(top_k=most, top_by="mass", top_amount=0.9, gld_raw=True)))
    found.append(_with(base, "entropy 2", ObjectiveConfig(top_k=most, top_by="entropy", top_amount=2.0, gld_raw=True)))
    return found


def graphs() -> list[Method]:
    """GLD with other nodes, weights and features, in units of the source's own features."""
    base = dataclasses.replace(by_name("gld"), grid=UNIT_GRID)

    def unit(**values: str) -> ObjectiveConfig:
        return dataclasses.replace(ObjectiveConfig(gld_weights="logits", gld_scale="source"), **values)  # type: ignore[arg-type]

    return [
        _with(base, "rank, logits, mean", unit()),
        _with(base, "rank, logits, mean_std", unit(gld_feature="mean_std")),
        _with(base, "rank, logits, spectrum", unit(gld_feature="spectrum")),
        _with(base, "rank, softmax, mean", unit(gld_weights="softmax")),
        _with(base, "rank, zscore, mean_std", unit(gld_weights="zscore", gld_feature="mean_std")),
        _with(base, "vocab, softmax, mean", unit(gld_nodes="vocab", gld_weights="softmax")),
        _with(base, "vocab, softmax, mean_std", unit(gld_nodes="vocab", gld_weights="softmax", gld_feature="mean_std")),
        _with(base, "vocab, softmax, spectrum", unit(gld_nodes="vocab", gld_weights="softmax", gld_feature="spectrum")),
    ]


def windows() -> list[Method]:
    """Aligned graphs of fewer and fewer positions, ending without a graph."""
    base = by_name("gld_aligned")
    return [
        _with(base, f"aligned, window {window or 'answer'}", ObjectiveConfig(gld_window=window)) for window in (0, 4, 1)
    ]


def by_sources() -> list[Method]:
    """One, two and three sources."""
    return [
        dataclasses.replace(by_name(name), name=f"{name}, {count} sources", sources=names)
        for count, names in SOURCES.items()
        for name in ("infigfusion", "path")
    ]
