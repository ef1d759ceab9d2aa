"""The losses against slow float64 references written from their definitions, and the traps of the method."""

import inspect
import math

import numpy as np
import pytest
import torch

import gwfast_llm
from gwfast_llm.models.logits import top_k
from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.gld import Gld, GraphOptions
from gwfast_llm.terms.path import kl_part
from gwfast_llm.terms.sft import sft_part


def logits(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def masks():
    """Prompt positions first, padding last: answers of 3 and 5 positions against 4 and 2."""
    student = torch.tensor([[0, 0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1, 0]]).bool()
    teacher = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 0, 0]]).bool()
    return student, teacher


def reference_uld(s, t, sm, tm, k):
    total, count = 0.0, 0
    for b in range(len(s)):
        rows_s, rows_t = s[b][sm[b]].numpy(), t[b][tm[b]].numpy()
        for x, y in zip(rows_s, rows_t):
            p, q = (np.exp(z - z.max()) / np.exp(z - z.max()).sum() for z in (x, y))
            p, q = np.sort(p)[::-1][:k], np.sort(q)[::-1][:k]
            n = max(len(p), len(q))
            total += np.abs(np.pad(p, (0, n - len(p))) - np.pad(q, (0, n - len(q)))).sum()
            count += 1
    return total / count


def reference_graph(z, k, nodes, weights):
    """The whole co-activation graph of one answer, (n, n), from its definition."""
    size = k if nodes == "rank" else z.shape[1]
    graph = np.zeros((size, size))
    for row in z:
        order = np.argsort(-row)[:k]
        kept = row[order]
        w = np.exp(kept - kept.max()) / np.exp(kept - kept.max()).sum() if weights == "softmax" else kept
        if weights == "log_probs":
            w = kept - np.log(np.exp(row).sum())
        h = np.zeros(size)
        h[np.arange(k) if nodes == "rank" else order] = w
        graph += np.outer(h, h)
    return graph / len(z)


def reference_gld(s, t, sm, tm, k, nodes, weights, feature, distance, scale):
    values = []
    for b in range(len(s)):
        columns = []
        for z, m in ((s, sm), (t, tm)):
            graph = reference_graph(z[b][m[b]].numpy(), k, nodes, weights)
            n = len(graph)
            row = graph.mean(1) if nodes == "rank" else graph.sum(1)
            features = [row]
            if feature == "mean_std":
                features.append(graph.std(1) * math.sqrt(n))
            columns.append(features)
        value = unit = 0.0
        size = np.abs if distance == "l1" else np.square
        for f, g in zip(*columns):
            n = max(len(f), len(g))
            value += size(np.sort(np.pad(f, (0, n - len(f)))) - np.sort(np.pad(g, (0, n - len(g))))).sum()
            unit += size(g).sum()
        values.append(value / unit if scale == "source" else value)
    return np.mean(values)


@pytest.mark.parametrize("k", [1, 4, 10])
@pytest.mark.parametrize("sizes", [(12, 12), (12, 19), (19, 12)])
def test_uld_is_its_definition(k, sizes):
    s, t = logits(0, 2, 7, sizes[0]), logits(1, 2, 6, sizes[1])
    sm, tm = masks()
    found = gwfast_llm.uld_loss(s, t, sm, tm, top_k=k)
    assert found.item() == pytest.approx(reference_uld(s, t, sm, tm, k), rel=1e-6)


@pytest.mark.parametrize("distance", ["l1", "squared"])
@pytest.mark.parametrize("feature", ["mean", "mean_std"])
@pytest.mark.parametrize("weights", ["softmax", "logits", "log_probs"])
@pytest.mark.parametrize(("nodes", "scale"), [("vocab", "published"), ("rank", "published"), ("rank", "source")])
def test_gld_is_its_definition(nodes, scale, weights, feature, distance):
    s, t = logits(2, 2, 7, 12), logits(3, 2, 6, 12)
    sm, tm = masks()
    options = {"nodes": nodes, "weights": weights, "feature": feature, "distance": distance, "scale": scale}
    found = gwfast_llm.gld_loss(s, t, sm, tm, top_k=4, **options)
    expected = reference_gld(s, t, sm, tm, 4, **options)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [gwfast_llm.uld_loss, gwfast_llm.gld_loss])
def test_prompt_and_padding_never_enter(loss):
    s, t = logits(4, 2, 7, 12), logits(5, 2, 6, 15)
    sm, tm = masks()
    before = loss(s, t, sm, tm, top_k=5)
    s2, t2 = s.clone(), t.clone()
    s2[~sm], t2[~tm] = 1e3 * torch.rand(12, dtype=torch.float64), -1e3
    assert loss(s2, t2, sm, tm, top_k=5).item() == before.item()
    s.requires_grad_()
    loss(s, t, sm, tm, top_k=5).backward()
    assert s.grad is not None
    assert (s.grad[~sm] == 0).all()
    assert (s.grad[sm].abs().sum(-1) > 0).any()


@pytest.mark.parametrize("loss", [gwfast_llm.uld_loss, gwfast_llm.gld_loss])
def test_gradient_agrees_with_finite_differences(loss):
    s, t = logits(6, 1, 3, 6).requires_grad_(), logits(7, 1, 4, 7)
    m, n = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: loss(x, t, m, n, top_k=4), (s,), atol=1e-6)


@pytest.mark.parametrize("feature", ["mean", "mean_std", "spectrum", "rows"])
def test_a_constant_on_all_logits_changes_nothing(feature):
    """Whatever the constant of each position: no probability changes.  The paper's letter does."""
    s, t = logits(20, 2, 7, 12), logits(21, 2, 6, 15)
    far = 50 * logits(22, 2, 7, 1), 50 * logits(23, 2, 6, 1)
    plain = gwfast_llm.gld_loss(s, t, *masks(), top_k=5, feature=feature)
    moved = gwfast_llm.gld_loss(s + far[0], t + far[1], *masks(), top_k=5, feature=feature)
    assert moved.item() == pytest.approx(plain.item(), rel=1e-9)
    raw = {"weights": "logits", "scale": "published"}
    one = gwfast_llm.gld_loss(s, t, *masks(), top_k=5, **raw).item()
    assert gwfast_llm.gld_loss(s + 1, t, *masks(), top_k=5, **raw).item() > 1.5 * one


def test_the_function_and_the_trainer_have_the_same_defaults():
    own = inspect.signature(gwfast_llm.gld_loss).parameters
    made = Gld.of(gwfast_llm.ObjectiveConfig(preset="infigfusion"))
    for name, value in vars(made.options).items():
        assert own[name].default == value, name
    assert own["top_k"].default == made.kept.k
    assert made.options == GraphOptions()
    assert Gld.of(gwfast_llm.ObjectiveConfig(preset="infigfusion", gld_raw=True)).options == GraphOptions.raw()
    with pytest.raises(FusionError, match="gld_raw chooses raw logits without unit, but gld_weights is given too"):
        gwfast_llm.ObjectiveConfig(gld_raw=True, gld_weights="softmax")


def test_uld_pairs_the_positions_it_is_given():
    s, t = logits(24, 2, 7, 12), logits(25, 2, 6, 15)
    own, theirs = torch.tensor([[1, 3, 6], [2, 4, -1]]), torch.tensor([[0, 2, 5], [1, 1, -1]])
    m, n = (torch.ones(*z.shape[:2], dtype=torch.bool) for z in (s, t))
    expected = []
    for b, i, j in ((0, 1, 0), (0, 3, 2), (0, 6, 5), (1, 2, 1), (1, 4, 1)):
        p, q = (z[b, k].softmax(-1).topk(5).values for z, k in ((s, i), (t, j)))
        expected.append((p - q).abs().sum().item())
    found = gwfast_llm.uld_loss(s, t, m, n, top_k=5, positions=(own, theirs))
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-6)
    n[0, 2] = False
    found = gwfast_llm.uld_loss(s, t, m, n, top_k=5, positions=(own, theirs))
    assert found.item() == pytest.approx(np.mean(expected[:1] + expected[2:]), rel=1e-6)
    with pytest.raises(FusionError, match="positions of the teacher lie from -1 to 6; expected -1 to 5"):
        gwfast_llm.uld_loss(s, t, m, n, positions=(own, theirs.clamp_max(4) + 2 * (theirs > 4).long()))
    with pytest.raises(FusionError, match=r"positions have shapes \(2, 3\) and \(2, 2\)"):
        gwfast_llm.uld_loss(s, t, m, n, positions=(own, theirs[:, :2]))


def test_top_k_keeps_the_tail():
    """Probabilities are those of the whole vocabulary: adding mass outside the kept logits changes the loss."""
    t = torch.zeros(1, 1, 4, dtype=torch.float64)
    m = torch.ones(1, 1, dtype=torch.bool)
    s = torch.tensor([[[3.0, 2.0, -9.0, -9.0]]], dtype=torch.float64)
    heavier = torch.tensor([[[3.0, 2.0, 1.9, 1.9]]], dtype=torch.float64)
    assert abs(gwfast_llm.uld_loss(s, t, m, m, top_k=2) - gwfast_llm.uld_loss(heavier, t, m, m, top_k=2)) > 0.1


def test_softmax_rows_cancel_the_graph():
    """With softmax weights the published feature is the mean token probability: any graph with it scores the same."""
    s, t = logits(8, 1, 5, 9), logits(9, 1, 5, 9)
    m = torch.ones(1, 5, dtype=torch.bool)
    softmax = {"nodes": "vocab", "weights": "softmax", "scale": "published"}
    published = gwfast_llm.gld_loss(s, t, m, m, top_k=9, feature="mean", **softmax)
    means = [z[0].softmax(-1).mean(0).sort()[0] for z in (s, t)]
    assert published.item() == pytest.approx((means[0] - means[1]).abs().sum().item(), rel=1e-6)
    # two answers with equal mean probabilities and different co-activation
    a = torch.tensor([[[9.0, 0.0], [0.0, 9.0]]], dtype=torch.float64)
    b = torch.zeros(1, 2, 2, dtype=torch.float64)
    m = torch.ones(1, 2, dtype=torch.bool)
    assert gwfast_llm.gld_loss(a, b, m, m, top_k=2, feature="mean", **softmax).item() == pytest.approx(0.0, abs=1e-9)
    assert gwfast_llm.gld_loss(a, b, m, m, top_k=2, feature="mean_std", **softmax).item() > 0.1


def test_uld_compares_the_prediction_of_the_same_answer_token():
    """No off-by-one: the t-th answer position of one is compared with the t-th of the other, on hand-made logits."""
    sharp, flat = torch.tensor([9.0, 0.0, 0.0]), torch.zeros(3)
    s = torch.stack([flat, sharp, flat, flat])[None].double()  # prompt, then predictions of answer tokens 1, 2, 3
    t = torch.stack([flat, flat, sharp, flat, flat])[None].double()
    sm = torch.tensor([[False, True, True, True]])
    tm = torch.tensor([[False, False, True, True, True]])
    assert gwfast_llm.uld_loss(s, t, sm, tm).item() == pytest.approx(0.0, abs=1e-12)
    shifted = torch.tensor([[False, True, True, True, False]])
    assert gwfast_llm.uld_loss(s, t, sm, shifted).item() > 0.5


def test_cross_entropy_predicts_the_next_token():
    z = torch.full((1, 4, 3), -20.0)
    z[0, 0, 2] = z[0, 1, 1] = z[0, 2, 0] = 20.0  # predictions of tokens 1, 2, 3
    labels = torch.tensor([[-100, -100, 1, 0]])
    part = sft_part(z, labels)
    assert part.count.item() == 2
    assert part.mean.item() == pytest.approx(0.0, abs=1e-6)


def test_kl_with_tail_is_the_kl_of_the_coarsened_distributions():
    p = logits(10, 6).softmax(-1)
    q = logits(11, 6).softmax(-1)
    kept = q.topk(3)
    part = kl_part(p.log()[kept.indices][None], kept.values[None], (1 - kept.values.sum())[None], torch.tensor([True]))
    cells_q = torch.cat([kept.values, (1 - kept.values.sum())[None]])
    cells_p = torch.cat([p[kept.indices], (1 - p[kept.indices].sum())[None]])
    expected = (cells_q * (cells_q / cells_p).log()).sum()
    assert part.mean.item() == pytest.approx(expected.item(), rel=1e-6)
    full = kl_part(p.log()[None], q[None], torch.zeros(1), torch.tensor([True]))
    assert full.mean.item() == pytest.approx((q * (q / p).log()).sum().item(), rel=1e-6)
    assert part.mean.item() <= full.mean.item() + 1e-12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(student_mask=torch.ones(2, 6, dtype=torch.bool)), "student_mask has shape"),
        (dict(teacher_mask=torch.ones(2, 6)), "teacher_mask has type"),
        (dict(student_mask=torch.zeros(2, 7, dtype=torch.bool)), "student_mask excludes every position"),
        (dict(student_logits=torch.zeros(7, 12)), "student_logits has shape"),
        (dict(teacher_logits=torch.zeros(3, 6, 12), teacher_mask=torch.ones(3, 6, dtype=torch.bool)), "3"),
    ],
)
def test_bad_arguments_are_named(change, message):
    sm, tm = masks()
    good = dict(
        student_logits=torch.zeros(2, 7, 12), teacher_logits=torch.zeros(2, 6, 12), student_mask=sm, teacher_mask=tm
    )
    with pytest.raises(FusionError, match=message):
        gwfast_llm.uld_loss(**{**good, **change})
    with pytest.raises(FusionError, match=message):
        gwfast_llm.gld_loss(**{**good, **change})


def test_unknown_option_is_named():
    sm, tm = masks()
    z = torch.zeros(2, 7, 12), torch.zeros(2, 6, 12)
    with pytest.raises(FusionError, match="nodes is 'tokens'"):
        gwfast_llm.gld_loss(*z, sm, tm, nodes="tokens")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 7), (2, 4, 1000), (5, 3001)])
def test_top_k_and_sum_agree_with_the_plain_operations(shape):
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    plain = z.detach().clone().requires_grad_()
    for k in (1, 5):
        kept = top_k(z, k)
        found = plain.topk(k, dim=-1)
        assert torch.equal(kept.values, found.values)
        assert torch.equal(kept.ids, found.indices)
        torch.testing.assert_close(kept.logsumexp, plain.logsumexp(-1))
        weights = torch.randn(*shape[:-1], k, generator=torch.Generator().manual_seed(1))
        (own,) = torch.autograd.grad((kept.probs * weights).sum() + kept.logsumexp.pow(2).sum(), z)
        probs = (found.values - plain.logsumexp(-1, keepdim=True)).exp()
        (other,) = torch.autograd.grad((probs * weights).sum() + plain.logsumexp(-1).pow(2).sum(), plain)
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_top_k_with_impossible_tokens():
    z = torch.randn(2, 600, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z[:, 0] = -torch.inf
    z[1, 5:] = -torch.inf
    kept = top_k(z, 3)
    torch.testing.assert_close(kept.logsumexp, z.logsumexp(-1))
    assert torch.equal(kept.values, z.topk(3).values)


def test_half_precision_logits_have_sums_in_single():
    z = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0)).bfloat16()
    kept = top_k(z, 4)
    assert kept.values.dtype == torch.bfloat16
    assert kept.logsumexp.dtype == torch.float32
    torch.testing.assert_close(kept.logsumexp, z.float().logsumexp(-1))


def test_the_losses_keep_almost_nothing_for_the_backward_pass():
    """At least 100 times less than sorting the vocabulary would (four tensors of the logits' size)."""
    z = logits(0, 1, 32, 5000).float().requires_grad_()
    t = logits(1, 1, 32, 5000).float()
    m = torch.ones(1, 32, dtype=torch.bool)
    kept = {z.untyped_storage().data_ptr(): 0, t.untyped_storage().data_ptr(): 0}

    def pack(tensor):
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        gwfast_llm.uld_loss(z, t, m, m) + gwfast_llm.gld_loss(z, t, m, m, nodes="rank", weights="logits")
    assert sum(kept.values()) < 4 * z.numel() * 4 / 100


def test_the_tail_is_one_bucket_with_its_analytic_gradient():
    """dKL/dz_j = p_j - q_j inside the kept tokens and p_j (Q - P) / (1 - P) outside, P and Q the mass kept."""
    z = logits(30, 1, 3, 9).requires_grad_()
    ids = torch.stack([torch.randperm(9, generator=torch.Generator().manual_seed(k))[:4] for k in range(3)])[None]
    q = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64).softmax(-1) * 0.8
    tail = 1 - q.sum(-1)
    mask = torch.ones(1, 3, dtype=torch.bool)
    (found,) = torch.autograd.grad(kl_part(z.log_softmax(-1).gather(-1, ids), q, tail, mask).total, z)
    p = z.detach().softmax(-1)
    kept = torch.zeros_like(p).scatter(-1, ids, 1.0)
    inside, outside = p - torch.zeros_like(p).scatter(-1, ids, q), (p * kept).sum(-1, keepdim=True)
    expected = kept * inside + (1 - kept) * p * (q.sum(-1, keepdim=True) - outside) / (1 - outside)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
