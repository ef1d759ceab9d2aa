"""Graphs in one vocabulary: dense references, the ladder of upper bounds, and features on the Gram side."""

import itertools

import numpy as np
import pytest
import torch

import gwfast
import gwfast_llm
from gwfast_llm.models.logits import Selection, select
from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.gld import GraphOptions, gld_part
from gwfast_llm.terms.gld_aligned import gld_aligned_part
from gwfast_llm.terms.graph import certified_interval
from gwfast_llm.terms.hellinger import hellinger_part
from gwfast_llm.terms.hybrid import hybrid_part
from gwfast_llm.terms.path import kl_part


def distributions(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(*shape, generator=generator, dtype=torch.float64)).softmax(-1)


def mask_of(*lengths, width):
    return torch.arange(width)[None] < torch.tensor(lengths)[:, None]


def dense_reference(p, q, mask, window, relative):
    total, count = 0.0, 0
    for b in range(len(p)):
        a, t = p[b][mask[b]].numpy(), q[b][mask[b]].numpy()
        step = len(a) if window == 0 else window
        for s in range(0, len(a), step):
            x, y = a[s : s + step], t[s : s + step]
            own, other = x.T @ x / len(x), y.T @ y / len(y)
            value = np.square(own - other).sum()
            total += len(x) * (value / np.square(other).sum() if relative else value)
            count += len(x)
    return total / count


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("window", [0, 1, 2])
def test_aligned_graphs_are_their_definition(window, relative):
    p, q = distributions(0, 3, 5, 9), distributions(1, 3, 5, 9)
    mask = mask_of(5, 2, 4, width=5)
    ids = torch.stack([torch.randperm(9, generator=torch.Generator().manual_seed(k)) for k in range(15)])
    ids = ids.reshape(3, 5, 9)
    part = gld_aligned_part(p, ids, q.gather(2, ids), mask, window=window, relative=relative)
    assert part.mean.item() == pytest.approx(dense_reference(p, q, mask, window, relative), rel=1e-9)


def test_aligned_graphs_with_dropped_channels():
    p, q = distributions(2, 1, 4, 30), distributions(3, 1, 4, 30)
    kept = q.topk(3)
    sparse = torch.zeros_like(q).scatter(2, kept.indices, kept.values)
    mask = mask_of(4, width=4)
    part = gld_aligned_part(p, kept.indices, kept.values, mask)
    assert part.mean.item() == pytest.approx(dense_reference(p, sparse, mask, 0, True), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_ladder_from_gw_to_kl(seed):
    """GW <= batch <= answers <= windows <= positions <= 4 KL, in units of summed squared edges."""
    size = 6
    p, q = distributions(10 + seed, 3, 4, size), distributions(20 + seed, 3, 4, size)
    mask = mask_of(4, 3, 2, width=4)
    ids = torch.arange(size).expand(3, 4, size)

    def aligned(window):
        return gld_aligned_part(p, ids, q, mask, window=window, relative=False).mean.item()

    flat_p, flat_q = p[mask][None], q[mask][None]
    whole = torch.ones(1, flat_p.shape[1], dtype=torch.bool)
    batch = gld_aligned_part(
        flat_p, ids[:1, :1].expand(1, flat_p.shape[1], size), flat_q, whole, relative=False
    ).mean.item()
    a, b = (x[0].numpy() / np.sqrt(x.shape[1]) for x in (flat_p, flat_q))
    first, second = a.T @ a, b.T @ b
    exact = min(
        np.square(first - second[np.ix_(order, order)]).sum()
        for order in map(list, itertools.permutations(range(size)))
    )
    bound = gwfast.lower_bound(gwfast.Gram(a), gwfast.Gram(b), effort="rows").lower * size**2
    certificate = gwfast.certify(gwfast.Gram(a), gwfast.Gram(b), np.eye(size) / size)
    kl = kl_part(p.log(), q, torch.zeros(3, 4), mask).mean.item()
    steps = [bound, exact, batch, aligned(0), aligned(2), aligned(1), 4 * kl]
    assert steps == sorted(steps)
    assert float(certificate.upper) * size**2 == pytest.approx(batch, rel=1e-9)


def test_interval_is_in_units_of_the_second_graph():
    p, q = distributions(30, 12, 7).numpy(), distributions(31, 10, 7).numpy()
    found = certified_interval(p, q)
    first, second = p.T @ p / 12, q.T @ q / 10
    assert found.upper == pytest.approx(np.square(first - second).sum() / np.square(second).sum(), rel=1e-9)
    assert 0 <= found.lower <= found.upper
    same = certified_interval(q, q)
    assert same.lower == 0
    assert same.upper == pytest.approx(0, abs=1e-12)


def test_hellinger_is_its_definition_and_below_the_kl():
    p, q = distributions(40, 2, 3, 8), distributions(41, 2, 3, 8)
    mask = mask_of(3, 1, width=3)
    part = hellinger_part(p.log(), q, torch.zeros(2, 3), mask)
    expected = (p.sqrt() - q.sqrt()).pow(2).sum(-1)[mask].mean()
    assert part.mean.item() == pytest.approx(expected.item(), rel=1e-9)
    assert part.mean.item() <= kl_part(p.log(), q, torch.zeros(2, 3), mask).mean.item()
    kept = q.topk(3)
    coarse = hellinger_part(p.log().gather(2, kept.indices), kept.values, 1 - kept.values.sum(-1), mask)
    assert 0 < coarse.mean.item() <= part.mean.item() + 1e-12


def test_hybrid_is_kl_on_shared_and_sorted_distance_on_the_rest():
    p, q = distributions(50, 1, 2, 6), distributions(51, 1, 2, 7)
    to_pivot = torch.tensor([3, -1, 0, -1, 5, -1, 1])  # source token -> pivot token
    known = torch.zeros(6, dtype=torch.bool)
    known[to_pivot[to_pivot >= 0]] = True
    student = select(p.log(), Selection(0))
    source = select(q.log(), Selection(0))
    ids = to_pivot[source.ids]
    part = hybrid_part(
        student,
        p.log().gather(2, ids.clamp_min(0)),
        ids >= 0,
        source.probs,
        known[student.ids],
        torch.ones(1, 2, dtype=torch.bool),
    )
    total = 0.0
    for a, b in zip(p[0].numpy(), q[0].numpy(), strict=True):
        total += sum(b[i] * np.log(b[i] / a[j]) for i, j in enumerate(to_pivot.tolist()) if j >= 0)
        x, y = np.sort(a[[2, 4]])[::-1], np.sort(b[[1, 3, 5]])[::-1]
        total += np.abs(np.pad(x, (0, 1)) - y).sum()
    assert part.mean.item() == pytest.approx(total / 2, rel=1e-9)


@pytest.mark.parametrize("nodes", ["vocab", "rank"])
def test_spectrum_is_that_of_the_graph_and_bounds_gw(nodes):
    s = distributions(60, 1, 4, 6).log()
    t = distributions(61, 1, 3, 6).log()
    sm, tm = torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    loss = gwfast_llm.gld_loss(
        s, t, sm, tm, top_k=0, nodes=nodes, weights="softmax", feature="spectrum", distance="squared", scale="published"
    )
    graphs = []
    for z in (s, t):
        h = z[0].softmax(-1).numpy()
        h = -np.sort(-h, axis=1) if nodes == "rank" else h
        graphs.append(h.T @ h / len(h))
    spectra = [np.linalg.eigvalsh(g) for g in graphs]
    assert loss.item() == pytest.approx(np.square(spectra[0] - spectra[1]).sum(), rel=1e-6)
    exact = min(
        np.square(graphs[0] - graphs[1][np.ix_(order, order)]).sum()
        for order in map(list, itertools.permutations(range(6)))
    )
    assert loss.item() <= exact * (1 + 1e-9)


def test_z_scores_with_row_means_are_refused_because_they_are_zero():
    z = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    m = torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(FusionError, match="identically zero"):
        gwfast_llm.gld_loss(z, 3 * z + 1, m, m, weights="zscore", feature="mean")
    with pytest.raises(FusionError, match="identically zero"):
        GraphOptions(weights="zscore", feature="mean")
    # the reason, on the graph itself: every row sums to zero
    h = (z - z.mean(-1, keepdim=True)) / z.std(-1, correction=0, keepdim=True)
    assert (h[0].T @ h[0]).sum(1).abs().max() < 1e-9
    other = z.flip(1) ** 3
    assert gwfast_llm.gld_loss(z, other, m, m, weights="zscore", feature="mean_std").item() > 1e-3


def test_source_scale_removes_the_scale_of_the_logits():
    s, t = distributions(70, 2, 5, 9).log(), distributions(71, 2, 5, 9).log()
    mask = torch.ones(2, 5, dtype=torch.bool)

    def value(factor, scale):
        options = GraphOptions(nodes="rank", weights="logits", scale=scale)
        kept = [select(factor * z, Selection(4)) for z in (s, t)]
        return gld_part(*kept, mask, mask, (9, 9), options).mean.item()

    assert value(10, "published") == pytest.approx(100 * value(1, "published"), rel=1e-6)
    assert value(10, "source") == pytest.approx(value(1, "source"), rel=1e-6)


@pytest.mark.parametrize(("by", "amount"), [("mass", 0.9), ("entropy", 1.5)])
def test_selection_keeps_more_where_the_model_is_unsure(by, amount):
    sharp, flat = torch.tensor([9.0] + [0.0] * 11), torch.zeros(12)
    kept = select(torch.stack([sharp, flat]), Selection(10, by, amount))
    numbers = torch.isfinite(kept.values).sum(-1).tolist()
    assert numbers[0] <= 2 < numbers[1] <= 10
    full = torch.stack([sharp, flat]).log_softmax(-1)
    torch.testing.assert_close(kept.logsumexp, torch.stack([sharp, flat]).logsumexp(-1))
    assert kept.probs[0, 0].item() == pytest.approx(full[0, 0].exp().item(), rel=1e-6)


def test_dropped_channels_have_no_weight_and_no_gradient():
    z = torch.tensor([[[5.0, 1.0, 0.5, 0.0]]], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([[[1.0, 1.0, 0.9, 0.8]]], dtype=torch.float64)
    m = torch.ones(1, 1, dtype=torch.bool)
    for weights in ("softmax", "logits"):
        options = GraphOptions(nodes="vocab", weights=weights)
        kept = [select(x, Selection(4, "mass", 0.5)) for x in (z, t)]
        loss = gld_part(*kept, m, m, (4, 4), options).mean
        (gradient,) = torch.autograd.grad(loss, z)
        assert torch.isfinite(gradient).all()
        assert gradient[0, 0, 1:].abs().max() == 0
