"""The error of the sorted approximation inside the fusion loss: value and gradient on held-out answers.

Shapes: P positions of an answer, K kept logits, n nodes.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

import gwfast
from experiments.shared.benchmark import HELD_OUT, opened, pool, table
from experiments.shared.records import Row
from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.terms.collate import FusionCollator

TOP = 10
GRAPHS = {
    "rank, logits": "the K largest raw logits, sorted: nodes are ranks",
    "rank, softmax": "their softmax",
    "vocab, softmax": "probabilities of the whole vocabulary: nodes are tokens",
}
EACH, STRIDE = 16, 5  # every so many held-out answers, other ones for every seed


@functools.cache
def _answers(pivot: str, seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(pivot's logits, source's sorted logits, carried source probabilities) of every `EACH`-th held-out answer."""
    laid = table(seed, ("A", "B"))
    start = len(pool(seed))
    indices = list(range(start + STRIDE * seed, start + 7 * HELD_OUT, EACH))
    collator = FusionCollator(laid.rows, 0, ObjectiveConfig(preset="custom", path=1.0, source_top_k=0), laid.desk)
    batch = collator(indices)
    with torch.no_grad():
        logits = opened(pivot)[0](**batch.model_inputs).logits
    found, (index, mask) = [], batch.matched(0)
    for b, item in enumerate(laid.desk.items(indices)):
        at = index[b][mask[b]]
        if len(at) < 2:
            continue
        targets = item[0].targets
        dense = torch.zeros(len(at), logits.shape[-1], dtype=torch.float64)
        dense.scatter_add_(1, targets.ids, targets.probs.double())
        found.append((logits[b, at].double(), item[0].signal.kept.values[:, :TOP].double(), dense))
    return found


def _factors(graph: str, own: Tensor, its: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
    if graph == "vocab, softmax":
        return own.softmax(-1), dense
    top = own.topk(TOP, dim=-1).values
    return (top, its) if graph == "rank, logits" else (top.softmax(-1), its.softmax(-1))


def errors(graph: str, pivot: str, seed: int) -> Row:
    """Sorted loss against GW: share of the value, cosine of the gradients over all answers' logits.

    The sorted loss is the squared distance of sorted row means, (1/n) sum_i (f_(i) - g_(i))^2, a lower bound of GW;
    GW is the objective of the best plan found, with its gradient.
    """
    sums = {"sorted": 0.0, "gw": 0.0, "lower": 0.0}
    dots = torch.zeros(3, dtype=torch.float64)
    ratios = []
    for own, its, dense in _answers(pivot, seed):
        own = own.clone().requires_grad_()
        h, q = _factors(graph, own, its, dense)
        first, second = h.T @ h / len(h), q.T @ q / len(q)
        gap = first.mean(1).sort()[0] - second.mean(1).sort()[0]
        loss = gap.pow(2).mean()
        value = gwfast.exact_gw(first, second).value
        (a,) = torch.autograd.grad(loss, own, retain_graph=True)
        (b,) = torch.autograd.grad(value, own)
        dots += torch.stack([(a * b).sum(), (a * a).sum(), (b * b).sum()])
        sorted_value, gw_value = loss.item(), value.item()
        sums["sorted"] += sorted_value
        sums["gw"] += gw_value
        sums["lower"] += float(gwfast.lower_bound(first.detach(), second.detach(), effort="rows").lower)
        ratios.append(sorted_value / gw_value if gw_value > 0 else 1.0)
    return {
        "share": sums["sorted"] / sums["gw"],
        "proved_share": sums["lower"] / sums["gw"],
        "median_share": float(torch.tensor(ratios).median()),
        "gradient_cosine": float(dots[0] / (dots[1] * dots[2]).sqrt()),
        "gradient_length": float((dots[1] / dots[2]).sqrt()),
        "answers": len(ratios),
    }
