"""All rungs between GW and the pointwise loss, on held-out answers.

Shapes: B batch, P matched positions, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gwfast
from experiments.shared import benchmark
from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.student.dense import DenseStudent
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.gld_aligned import gld_aligned_part
from gwfast_llm.terms.path import kl_part
from gwfast_llm.terms.term import Asked

WINDOW = 4
EACH = 4  # of the held-out examples every so many get an interval of their own
QUANTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Rungs:
    """Values of the ladder in units of summed squared edges of probability graphs, each at most the next.

    Attributes
    ----------
    lower : float
        Proved lower end of V^2 GW_2^2 between the graphs of all answers.
    plan : float
        The same for the best plan found.
    batch, example, window, position : float
        ||C_s - C_t||^2 with tokens matched to themselves: one graph of all answers, one an answer, one every `WINDOW`
        positions, one a position; means over positions.
    four_kl : float
        Four times the KL to the carried source, nats, mean over positions.
    energy : float
        ||C_t||^2 of the graph of all answers, to compare the rungs with.
    """

    lower: float
    plan: float
    batch: float
    example: float
    window: float
    position: float
    four_kl: float
    energy: float


@functools.cache
def _held(seed: int, sources: tuple[str, ...]) -> Batch:
    laid = benchmark.table(seed, sources)
    objective = ObjectiveConfig(preset="custom", path=1.0, source_top_k=0)
    collator = FusionCollator(laid.rows, benchmark.opened("pivot")[1].pad_token_id, objective, laid.desk)
    start = len(benchmark.pool(seed))
    return collator(range(start, start + 7 * benchmark.HELD_OUT, 2))


def _dense(batch: Batch, like: Tensor) -> Tensor:
    assert batch.carried is not None
    return torch.zeros_like(like).scatter_add(2, batch.carried.ids[:, 0], batch.carried.probs[:, 0])


def _factor(h: Tensor) -> np.ndarray:
    return h.double().numpy() / np.sqrt(len(h))


def _interval(h: Tensor, q: Tensor) -> tuple[float, float]:
    """Proved lower end and objective at the known coupling, times V^2."""
    n = h.shape[1]
    first, second = gwfast.Gram(_factor(h)), gwfast.Gram(_factor(q))
    lower = gwfast.lower_bound(first, second, effort="rows").lower
    upper = gwfast.certify(first, second, np.eye(n) / n, effort="sort").upper
    return float(lower) * n**2, float(upper) * n**2


def measure(model: Any, seed: int, sources: tuple[str, ...] = ("A", "B")) -> dict[str, float]:
    """Ladder, and quantiles over single answers of WD and of both ends of GW.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The pivot as it is now.
    seed : int
        Seed of the pool on which the sources were carried.
    sources : tuple of str
        Names of the sources.

    Returns
    -------
    dict
        Fields of `Rungs`; ``wd_q05`` ... ``gw_upper_q95`` over single answers: WD is the mean over positions of the
        distance of sorted probabilities, the GW ends are divided by the energy of the source's graph.
    """
    return _measured(model, _held(seed, sources))  # laying out may build models, which needs gradients


@torch.no_grad()
def _measured(model: Any, batch: Batch) -> dict[str, float]:
    model.eval()
    logits = model(**batch.model_inputs, use_cache=False).logits
    model.train()
    student = DenseStudent(logits)
    at, mask = batch.matched(0)
    probs = student.probs_at(at)
    target = _dense(batch, probs)
    assert batch.carried is not None
    ids, q = batch.carried.ids[:, 0], batch.carried.probs[:, 0]

    def aligned(window: int) -> float:
        return float(gld_aligned_part(probs, ids, q, mask, window=window, relative=False).mean)

    log_probs = student.log_probs(Asked("carried", 0, ids), at)
    kl = float(kl_part(log_probs, q, batch.carried.tail[:, 0], mask).mean)
    h, t = probs[mask], target[mask]
    lower, batch_value = _interval(h, t)
    first, second = (gwfast.Gram(_factor(x)) for x in (h, t))
    n = h.shape[1]
    plan = min(batch_value, float(gwfast.exact_gw(first, second).value) * n**2)
    energy = float((torch.tensor(_factor(t)) @ torch.tensor(_factor(t)).T).pow(2).sum())
    rungs = Rungs(lower, plan, batch_value, aligned(0), aligned(WINDOW), aligned(1), 4 * kl, energy)
    return {**dataclasses.asdict(rungs), **_quantiles(probs, target, mask)}


def _quantiles(probs: Tensor, target: Tensor, mask: Tensor) -> dict[str, float]:
    found: dict[str, list[float]] = {"wd": [], "gw_lower": [], "gw_upper": []}
    for b in range(0, len(probs), EACH):
        h, t = probs[b][mask[b]], target[b][mask[b]]
        if not len(h):
            continue
        gap = h.sort(-1, descending=True)[0] - t.sort(-1, descending=True)[0]
        lower, upper = _interval(h, t)
        energy = float(np.square(_factor(t) @ _factor(t).T).sum())
        for name, value in (("wd", float(gap.abs().sum(-1).mean())), ("gw_lower", lower / energy)):
            found[name].append(value)
        found["gw_upper"].append(upper / energy)
    return {
        f"{name}_q{percent:02d}": float(np.percentile(values, percent))
        for name, values in found.items()
        for percent in QUANTILES
    }
