"""Published objectives for foreign tokenizers against slow references from whole logits, text and spelling alone."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, select
from gwfast_llm.student.dense import DenseStudent
from gwfast_llm.teachers.desk import SourceDesk, path_maps
from gwfast_llm.teachers.projection import Projection
from gwfast_llm.teachers.signal import Signal
from gwfast_llm.terms.alm import alm_part
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.divergence import divergence_part
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import encode_all

COUNT = 4


class Spoken:
    """A source that says random numbers, the same each time."""

    def __init__(self, name, tokenizer, rows, seed):
        self.name, self.tokenizer, self.rows = name, tokenizer, rows
        draw = torch.Generator().manual_seed(seed)
        size = len(tokenizer)
        self.logits = [2 * torch.randn(len(r.answer), size, generator=draw, dtype=torch.float64) for r in rows]

    def signals(self, indices):
        found = []
        for i in indices:
            z = self.logits[i]
            gold = z.log_softmax(-1)[range(len(z)), self.rows[i].answer]
            found.append(Signal(select(z, Selection(0)), gold))
        return found


@pytest.fixture(scope="module", params=["A", "B"])
def scene(request, tokenizers, examples):
    """A pivot and a source of another tokenizer: rows, logits and a batch's worth of examples."""
    pivot, theirs = tokenizers[0], tokenizers[1 + (request.param == "B")]
    own = examples[::12][:COUNT]
    rows = encode_all(own, pivot)
    source = Spoken(request.param, theirs, encode_all(own, theirs), 3)
    draw = torch.Generator().manual_seed(1)
    width = max(len(r.ids) for r in rows)
    logits = 2 * torch.randn(COUNT, width, len(pivot), generator=draw, dtype=torch.float64)
    return own, pivot, rows, source, logits


def value(scene, name, **options):
    """The term through collation, on the pivot's logits."""
    _, pivot, rows, source, logits = scene
    config = ObjectiveConfig(preset="custom", sft=0.0, source_top_k=0, top_k=500, **{name: 1.0}, **options)
    maps = path_maps(pivot, rows, [source], scene[0])
    desk = SourceDesk(rows, [source], [0.7], maps, "mince", 0)
    batch = FusionCollator(rows, 0, config, desk)(list(range(COUNT)))
    objective = Objective.of(config, 1)
    part = objective.values(DenseStudent(logits), batch)[0]
    assert float(part.count) == float(objective.counts(batch)[0])
    return float(part.total) / 0.7 / float(part.count)


def spelled(tokenizer):
    """Text of every token; none of these tokenizers spells marks as text."""
    special = set(tokenizer.all_special_ids)
    return [None if i in special else tokenizer.decode([i]) for i in range(len(tokenizer))]


def cuts(tokenizer, ids):
    """Where tokens start in the text, by decoding prefixes."""
    return [len(tokenizer.decode(ids[:k])) for k in range(len(ids) + 1)]


def chunks(scene):
    """Of every example: (pivot logits, source logits, tokens of both) of each shortest common chunk."""
    _, pivot, rows, source, logits = scene
    for b, row in enumerate(rows):
        first, second = cuts(pivot, row.answer), cuts(source.tokenizer, source.rows[b].answer)
        common = sorted(set(first) & set(second))
        assert first[-1] == second[-1] == common[-1]
        for start, stop in pairwise(common):
            p = range(first.index(start), first.index(stop))
            s = range(second.index(start), second.index(stop))
            own = [logits[b, row.prompt_length - 1 + t].numpy() for t in p]
            theirs = [source.logits[b][t].numpy() for t in s]
            yield own, theirs, [row.answer[t] for t in p], [source.rows[b].answer[t] for t in s]


def logs(z):
    return z - z.max() - math.log(sum(math.exp(x - z.max()) for x in z))


def shared(scene):
    """Source token -> pivot token of equal spelling."""
    own = {text: i for i, text in reversed(list(enumerate(spelled(scene[1])))) if text is not None}
    found = {}
    for j, text in enumerate(spelled(scene[3].tokenizer)):
        if text is not None and text in own:
            found[j] = own[text]
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id"):  # marks of one name
        ours, theirs = getattr(scene[1], name), getattr(scene[3].tokenizer, name)
        if ours is not None and theirs is not None and name != "unk_token_id":
            found[theirs] = ours
    return found


@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_alm_is_the_binary_divergence_of_chunks(scene, temperature):
    found = []
    for own, theirs, mine, its in chunks(scene):
        s = sum(logs(z)[i] for z, i in zip(own, mine)) - 1e-6
        t = sum(logs(z)[i] for z, i in zip(theirs, its)) - 1e-6
        tau = temperature or 1e7
        p = math.exp(t / tau)
        rest = -math.expm1(t / tau), -math.expm1(s / tau)
        found.append(tau * (p * (t - s) / tau + rest[0] * math.log(rest[0] / rest[1])))
    assert value(scene, "alm", alm_temperature=temperature) == pytest.approx(np.mean(found), rel=1e-6)


def test_alm_is_least_where_the_likelihoods_agree():
    t = torch.tensor([-3.0, -0.2, -1e-9], dtype=torch.float64)
    mask = torch.ones(3, dtype=torch.bool)
    for temperature in (0.0, 1.0, 100.0):
        s = t.clone().requires_grad_()
        part = alm_part(s, t, mask, temperature)
        assert abs(float(part.total.detach())) < 1e-12
        (gradient,) = torch.autograd.grad(part.total, s)
        assert gradient.abs().max() < 1e-6
        assert float(alm_part(t - 0.5, t, mask, temperature).total) > 0
    limit, near = (float(alm_part(t - 0.5, t, mask, tau).total) for tau in (0.0, 1e5))
    assert near == pytest.approx(limit, rel=1e-4)


@pytest.mark.parametrize("how", ["reverse", "forward"])
def test_simct_adds_the_chunk_to_the_shared_tokens(scene, how):
    pairs, found = shared(scene), []
    for own, theirs, mine, its in chunks(scene):
        first, second = logs(own[0]), logs(theirs[0])
        p = {j: first[i] for j, i in pairs.items()}
        q = {j: second[j] for j in pairs}
        if len(mine) > 1 or len(its) > 1:
            p["chunk"] = np.mean([logs(z)[i] for z, i in zip(own, mine)])
            q["chunk"] = np.mean([logs(z)[i] for z, i in zip(theirs, its)])
        p, q = ({k: v - math.log(sum(map(math.exp, x.values()))) for k, v in x.items()} for x in (p, q))
        a, b = (p, q) if how == "reverse" else (q, p)
        found.append(sum(math.exp(a[k]) * (a[k] - b[k]) for k in a))
    assert value(scene, "simct", simct_divergence=how) == pytest.approx(np.mean(found), rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_gold_merges_chunks_and_weighs_by_the_shared_vocabulary(scene, beta):
    pairs, found = shared(scene), []
    share = len(pairs) / len(scene[3].tokenizer)
    for own, theirs, mine, its in chunks(scene):
        p = np.exp(logs(own[0])) * math.exp(sum(logs(z)[i] for z, i in zip(own[1:], mine[1:])))
        q = np.exp(logs(theirs[0])) * math.exp(sum(logs(z)[i] for z, i in zip(theirs[1:], its[1:])))
        alike = 0.0
        for j, i in pairs.items():
            m = beta * q[j] + (1 - beta) * p[i]
            if beta == 0:
                alike += q[j] * math.log(q[j] / p[i])
            elif beta == 1:
                alike += p[i] * math.log(p[i] / q[j])
            else:
                alike += beta * q[j] * math.log(q[j] / m) + (1 - beta) * p[i] * math.log(p[i] / m)
        x = sorted((p[i] for i in range(len(p)) if i not in pairs.values()), reverse=True)
        y = sorted((q[j] for j in range(len(q)) if j not in pairs), reverse=True)
        n = max(len(x), len(y))
        other = np.abs(np.pad(x, (0, n - len(x))) - np.pad(y, (0, n - len(y)))).sum()
        found.append(share * alike + (1 - share) * other)
    assert value(scene, "gold", gold_beta=beta) == pytest.approx(np.mean(found), rel=1e-6)


def matrix(scene):
    """X-Token's matrix from spellings, dense."""
    pivot, theirs = scene[1], scene[3].tokenizer
    found = np.zeros((len(pivot), len(theirs)))

    def spell(tokenizer, text):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:4]
        raw = [0.9 * 0.1**k for k in range(len(ids))]
        return [(i, r / sum(raw)) for i, r in zip(ids, raw)]

    for v, text in enumerate(spelled(pivot)):
        for u, w in spell(theirs, text) if text else []:
            found[v, u] += w
    for u, text in enumerate(spelled(theirs)):
        for v, w in spell(pivot, text) if text else []:
            found[v, u] += w
    for u, v in shared(scene).items():
        found[v] = 0
        found[v, u] = 1
    for row in found:
        row[np.argsort(-row, kind="stable")[4:]] = 0
        row /= max(row.sum(), 1e-300)
    return found


def test_xtoken_p_projects_the_pivot(scene):
    w, found = matrix(scene), []
    for own, theirs, _, _ in chunks(scene):
        seen = np.exp(logs(own[0])) @ w
        seen, q = seen / (seen.sum() + 1e-10), np.exp(logs(theirs[0]))
        found.append(sum(b * (math.log(b) - math.log(a + 1e-10)) for a, b in zip(seen, q)))
    assert value(scene, "xtoken_p") == pytest.approx(np.mean(found), rel=1e-6)


def test_xtoken_h_pairs_by_the_heaviest_entry(scene):
    w, found, pairs = matrix(scene), [], {}
    for v in sorted(range(len(w)), key=lambda v: (-round(w[v].max(), 6), v)):
        u = int(w[v].argmax())
        if w[v, u] >= 0.6 and u not in pairs:
            pairs[u] = v
    assert {u: v for u, v in pairs.items() if u in shared(scene)} == shared(scene)  # equal spellings first
    for own, theirs, _, _ in chunks(scene):
        p, q = np.exp(logs(own[0])), np.exp(logs(theirs[0]))
        x = sorted((p[i] for i in range(len(p)) if i not in pairs.values()), reverse=True)
        y = sorted((q[j] for j in range(len(q)) if j not in pairs), reverse=True)
        n = max(len(x), len(y))
        other = np.abs(np.pad(x, (0, n - len(x))) - np.pad(y, (0, n - len(y)))).sum()
        found.append(sum(q[j] * math.log(q[j] / p[i]) for j, i in pairs.items()) + other)
    assert value(scene, "xtoken_h") == pytest.approx(np.mean(found), rel=1e-6)


def test_of_several_pivot_tokens_the_heaviest_is_paired():
    ids = torch.tensor([[2, 0], [2, 1], [0, 1], [1, 0]])
    weights = torch.tensor([[0.7, 0.3], [0.9, 0.1], [0.55, 0.45], [0.6, 0.4]])
    to_pivot, in_pivot = Projection(ids, weights, 4).relaxed(0.6)
    assert to_pivot.tolist() == [-1, 3, 1, -1]
    assert in_pivot.tolist() == [False, True, False, True]


# --- the tail


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
def test_the_gradient_of_the_tail_is_the_analytic_one(tail, direction):
    draw = torch.Generator().manual_seed(0)
    z = (2 * torch.randn(6, 30, generator=draw, dtype=torch.float64)).requires_grad_()
    target = (2 * torch.randn(6, 30, generator=draw, dtype=torch.float64)).softmax(-1)
    best = target.topk(5, -1)
    ids, q, whole = best.indices, best.values, z.softmax(-1)
    rest, mask = 1 - q.sum(-1), torch.ones(6, dtype=torch.bool)
    found = divergence_part(z.log_softmax(-1).gather(-1, ids), q, rest, mask, None, tail, direction)
    (gradient,) = torch.autograd.grad(found.total, z)

    p = whole.detach().numpy()
    for b in range(6):
        inside, Q = ids[b].tolist(), float(q[b].sum())
        P = p[b, inside].sum()
        want, size = np.zeros(30), 0.0
        target_of = dict(zip(inside, q[b].tolist()))
        if tail == "bucket":
            cells = [(p[b, j], target_of[j]) for j in inside] + [(1 - P, 1 - Q)]
        else:
            cells = [(p[b, j] / P, target_of[j] / Q) for j in inside]
        size = sum(y * math.log(y / x) if direction == "forward" else x * math.log(x / y) for x, y in cells)
        for j in range(30):
            if direction == "forward":
                if tail == "bucket":
                    want[j] = p[b, j] - target_of[j] if j in target_of else p[b, j] * (Q - P) / (1 - P)
                else:
                    want[j] = p[b, j] / P - target_of[j] / Q if j in target_of else 0.0
            else:  # sum over cells of x log(x / y): dx of a cell is its share of p_j less x p_j
                here = cells[inside.index(j)] if j in target_of else cells[-1]
                if tail == "bucket":
                    want[j] = p[b, j] * (math.log(here[0] / here[1]) - size)
                elif j in target_of:
                    want[j] = p[b, j] / P * (math.log(here[0] / here[1]) - size)
        one = divergence_part(
            whole[b].detach().log()[ids[b]][None], q[b][None], rest[b][None], mask[:1], None, tail, direction
        )
        assert float(one.total) == pytest.approx(size, rel=1e-9)
        np.testing.assert_allclose(gradient[b].numpy(), want, rtol=1e-8, atol=1e-12)


def test_a_student_that_is_too_sure_is_pulled_back():
    z = torch.tensor([[40.0, 0.0, 0.0]], requires_grad=True)  # no mass left outside in float32
    part = divergence_part(z.log_softmax(-1)[:, :1], torch.tensor([[0.7]]), torch.tensor([0.3]), torch.tensor([True]))
    (gradient,) = torch.autograd.grad(part.total, z)
    assert torch.isfinite(gradient).all()
    plain = torch.tensor([[40.0, 0.0, 0.0]], requires_grad=True)
    q = torch.tensor([[0.7]])
    sure = divergence_part(plain.log_softmax(-1)[:, :1], q, torch.tensor([0.0]), torch.tensor([True]))
    assert part.total > sure.total
