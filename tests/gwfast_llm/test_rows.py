"""Rows of graphs matched by an assignment: a proved lower bound of GW, with a gradient."""

import itertools

import numpy as np
import pytest
import torch

import gwfast
import gwfast_llm
from gwfast_llm.models.logits import Selection, select
from gwfast_llm.terms.gld import GraphOptions, gld_part
from gwfast_llm.terms.graph_rows import rows_distance


def logits(seed, *shape):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def graph(z, k, nodes, weights):
    """Graph of one answer from its definition, (n, n)."""
    size = k if nodes == "rank" else z.shape[1]
    found = np.zeros((size, size))
    for row in z.numpy():
        order = np.argsort(-row)[:k]
        kept = row[order]
        h = np.zeros(size)
        if weights == "softmax":
            kept = np.exp(kept) / np.exp(kept).sum()
        elif weights == "zscore":
            kept = (kept - kept.mean()) / np.sqrt(kept.var() + 1e-12)
        h[np.arange(k) if nodes == "rank" else order] = kept
        found += np.outer(h, h)
    return found / len(z)


def everywhere(*lengths):
    return [torch.ones(1, n, dtype=torch.bool) for n in lengths]


def rows_of_gwfast(first, second):
    certificate = gwfast.lower_bound(first, second, effort="rows")
    return next(b.value for b in certificate.bounds if b.theorem == "third-lower-bound")


@pytest.mark.parametrize("weights", ["softmax", "logits", "zscore"])
@pytest.mark.parametrize(("nodes", "k", "size"), [("rank", 5, 9), ("vocab", 9, 9), ("vocab", 2, 40), ("vocab", 3, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_third_lower_bound(nodes, k, size, weights, seed):
    """To rounding, whatever share of the vocabulary is in use."""
    s, t = logits(seed, 1, 4, size), logits(10 + seed, 1, 3, size)
    options = GraphOptions(nodes, weights, "rows", "squared", "published")
    kept = [select(z, Selection(k)) for z in (s, t)]
    value = gld_part(*kept, *everywhere(4, 3), (size, size), options).mean.item()
    graphs = [graph(z[0], k, nodes, weights) for z in (s, t)]
    n = len(graphs[0])
    assert value / n**2 == pytest.approx(rows_of_gwfast(*graphs), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("nodes", ["rank", "vocab"])
@pytest.mark.parametrize("seed", range(4))
def test_ladder_from_row_means_to_gw(nodes, seed):
    """Row means <= rows <= the best of all couplings that are permutations; the proved interval of GW holds it too."""
    s, t = logits(20 + seed, 1, 4, 6), logits(30 + seed, 1, 3, 6)
    graphs = [graph(z[0], 6, nodes, "softmax") for z in (s, t)]

    def value(feature):
        return gwfast_llm.gld_loss(
            s,
            t,
            *everywhere(4, 3),
            top_k=0,
            nodes=nodes,
            weights="softmax",
            feature=feature,
            distance="squared",
            scale="published",
        ).item()

    means = np.square(np.sort(graphs[0].mean(1)) - np.sort(graphs[1].mean(1))).sum() * 6
    exact = min(
        np.square(graphs[0] - graphs[1][np.ix_(order, order)]).sum()
        for order in map(list, itertools.permutations(range(6)))
    )
    rows = value("rows")
    assert means <= rows * (1 + 1e-9)
    assert rows <= exact * (1 + 1e-9)
    assert rows / 36 <= gwfast.exact_gw(*graphs, time_limit=5).upper * (1 + 1e-9)


def test_renamed_tokens_and_other_lengths_of_the_same_graph_cost_nothing():
    z = logits(0, 1, 4, 12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    twice = torch.cat([z, z], 1)[..., order]
    for distance in ("l1", "squared"):
        loss = gwfast_llm.gld_loss(z, twice, *everywhere(4, 8), top_k=5, feature="rows", distance=distance)
        assert loss.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("distance", ["l1", "squared"])
@pytest.mark.parametrize(("nodes", "weights"), [("rank", "logits"), ("vocab", "softmax"), ("rank", "zscore")])
def test_gradient_agrees_with_finite_differences(nodes, weights, distance):
    s, t = logits(1, 2, 3, 6).requires_grad_(), logits(2, 2, 4, 7)
    masks = torch.tensor([[1, 1, 1], [0, 1, 1]]).bool(), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()

    def loss(x):
        options = dict(nodes=nodes, weights=weights, distance=distance)
        return gwfast_llm.gld_loss(x, t, *masks, top_k=4, feature="rows", **options)

    assert torch.autograd.gradcheck(loss, (s,), atol=1e-6)
    (gradient,) = torch.autograd.grad(loss(s), s)
    assert (gradient[~masks[0]] == 0).all()
    assert gradient.abs().sum() > 0


def test_source_scale_removes_the_scale_of_the_logits():
    s, t = logits(3, 2, 5, 9), logits(4, 2, 5, 9)
    mask = torch.ones(2, 5, dtype=torch.bool)

    def value(factor, scale, distance):
        kept = [select(factor * z, Selection(4)) for z in (s, t)]
        return gld_part(*kept, mask, mask, (9, 9), GraphOptions("rank", "logits", "rows", distance, scale)).mean.item()

    assert value(10, "published", "squared") == pytest.approx(1e4 * value(1, "published", "squared"))
    for distance in ("l1", "squared"):
        assert value(10, "source", distance) == pytest.approx(value(1, "source", distance))


def test_graphs_of_other_sizes_are_filled_up_with_idle_nodes():
    c = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    wide = torch.nn.functional.pad(c, (0, 1, 0, 1))
    assert rows_distance(c, wide, 3, "squared").item() == 0
    assert rows_distance(c, torch.zeros(1, 1), 2, "l1").item() == 7
