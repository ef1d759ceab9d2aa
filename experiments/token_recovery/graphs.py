"""Graphs on tokens: from texts alone, and from what a model predicts.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gwfast_llm.text.examples import pad_right

WINDOW = 5
PROFILE = 12


def bigrams(rows: Sequence[Sequence[int]], size: int, window: int = 1) -> np.ndarray:
    """Counts (V, V) of one token before another, at most `window` places apart; symmetric for windows."""
    found = np.zeros((size, size))
    for row in rows:
        for distance in range(1, window + 1):
            if len(row) > distance:
                np.add.at(found, (np.asarray(row[:-distance]), np.asarray(row[distance:])), 1.0)
    return found if window == 1 else found + found.T


def pointwise_information(counts: np.ndarray) -> np.ndarray:
    """log(1 + ratio of a joint count to what independence would give)."""
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / max(counts.sum(), 1.0)
    return np.log1p(counts / np.maximum(expected, 1e-9))


def context_cosine(counts: np.ndarray) -> np.ndarray:
    """Cosine of what comes after and before two tokens."""
    after = counts / np.maximum(counts.sum(1, keepdims=True), 1e-9)
    before = counts.T / np.maximum(counts.T.sum(1, keepdims=True), 1e-9)
    profile = np.sqrt(np.hstack([after, before]))
    profile /= np.maximum(np.linalg.norm(profile, axis=1, keepdims=True), 1e-9)
    return profile @ profile.T


@torch.no_grad()
def coactivation(model: Any, rows: Sequence[Sequence[int]], pad: int) -> np.ndarray:
    """C = mean over positions of h h' with h the model's next-token distribution."""
    total, count = 0.0, 0
    for start in range(0, len(rows), 100):
        some = [list(r) for r in rows[start : start + 100]]
        mask = pad_right([[1] * len(r) for r in some], 0)
        h = model(input_ids=pad_right(some, pad), attention_mask=mask).logits.softmax(-1)[mask.bool()].double()
        total = total + (h.T @ h).numpy()
        count += len(h)
    return np.asarray(total) / count


def text_graphs(rows: Sequence[Sequence[int]], size: int) -> dict[str, np.ndarray]:
    """Graphs that need no model."""
    counts = bigrams(rows, size)
    return {
        "bigram information": pointwise_information(counts),
        "window information": pointwise_information(bigrams(rows, size, WINDOW)),
        "context cosine": context_cosine(counts),
    }


def features(rows: Sequence[Sequence[int]], size: int) -> np.ndarray:
    """Node features that do not depend on the names of the tokens: log frequency and sorted profiles."""
    counts = bigrams(rows, size)
    uses = np.bincount(np.concatenate([np.asarray(r) for r in rows]), minlength=size)
    sides = [c / np.maximum(c.sum(1, keepdims=True), 1e-9) for c in (counts, counts.T)]
    profiles = [-np.sort(-np.sqrt(c), axis=1)[:, :PROFILE] for c in sides]
    return np.hstack([np.log1p(uses)[:, None] / 3, *profiles])
