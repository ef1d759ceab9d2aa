"""Batches in torch: laws of values, bounds, plans and gradients, of padding and of devices."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import gwfast
from gwfast.kernels.batch import run
from gwfast.kernels.batch.bounds import dual_value
from gwfast.kernels.batch.scaling import to_marginals
from gwfast.many import batched

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def problems(seed, B=6, n=7, m=5, *, symmetric=True, weighted=False, fused=False):
    """Arguments of `batched` as numpy arrays."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, k, w in (("C1", n, "p"), ("C2", m, "q")):
        x = rng.normal(size=(B, k, 2))
        C = np.linalg.norm(x[:, :, None] - x[:, None], axis=3)
        made[name] = C if symmetric else C + 0.3 * rng.normal(size=C.shape)
        if weighted:
            made[w] = rng.dirichlet(np.full(k, 3.0), size=B)
    if fused:
        made |= {"M": rng.normal(size=(B, n, m)), "alpha": rng.uniform(size=B)}
    return made


def tensors(made, device="cpu"):
    return {name: torch.tensor(x, device=device) for name, x in made.items()}


def alone(made, b):
    """Space and space of one problem, and its feature cost."""
    first = gwfast.Dense(made["C1"][b], made["p"][b] if "p" in made else None)
    second = gwfast.Dense(made["C2"][b], made["q"][b] if "q" in made else None)
    fused = {"M": made["M"][b], "alpha": float(made["alpha"][b])} if "M" in made else {}
    return first, second, fused


KINDS = [
    pytest.param({"symmetric": s, "weighted": w, "fused": f}, id=f"{'sym' if s else 'asym'}{'-p' * w}{'-M' * f}")
    for s in (True, False)
    for w in (True, False)
    for f in (True, False)
]


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_below_every_value_and_plans_are_couplings(kind):
    made = problems(1, **kind)
    found = batched(**tensors(made), symmetric=kind["symmetric"])
    p, q = (made.get(w, np.full(made[C].shape[:2], 1 / made[C].shape[1])) for w, C in (("p", "C1"), ("q", "C2")))
    for plan in (found.plan, found.entropic_plan):
        assert plan.min() >= 0
        np.testing.assert_allclose(plan.sum(2), p, atol=1e-15)
        np.testing.assert_allclose(plan.sum(1), q, atol=1e-15)
    for b in range(len(p)):
        x, y, fused = alone(made, b)
        exact = gwfast.exact_gw(x, y, **fused, effort="rows")
        assert found.lower[b] <= exact.value
        assert found.annealed[b] >= exact.certificate.lower
        assert found.annealed[b] == pytest.approx(
            gwfast.certify(x, y, found.plan[b].numpy(), **fused, effort="sort").upper, rel=1e-9, abs=1e-9
        )
        assert found.annealed[b] <= exact.value + 0.6 * abs(exact.value)


@given(st.integers(0, 10**6), st.booleans(), st.booleans(), st.booleans())
def test_bounds_are_below_the_optimum_over_permutations(seed, symmetric, given_weights, whole):
    """Equal weights, so that a permutation is best among concave problems and an upper bound among all."""
    rng = np.random.default_rng(seed)
    n, size = int(rng.integers(2, 5)), 10.0 ** rng.integers(-3, 4)
    C, D = rng.normal(size=(2, 3, n, n)) * size
    if whole:
        C, D = np.round(C / size), np.round(D / size)
    if symmetric:
        C, D = C + C.transpose(0, 2, 1), D + D.transpose(0, 2, 1)
    order = rng.permutation(n)
    D[0] = C[0][np.ix_(order, order)]  # the optimum is 0
    weights = (torch.full((3, n), 1 / n, dtype=torch.float64),) * 2 if given_weights else ()
    for effort in ("sort", "rows"):
        found = batched(torch.tensor(C), torch.tensor(D), *weights, symmetric=symmetric, effort=effort, epsilon=None)
        for b in range(3):
            best = min(((C[b] - D[b][np.ix_(s, s)]) ** 2).mean() for s in map(list, permutations(range(n))))
            assert found.lower[b] <= best


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_those_of_the_single_calls(kind):
    made = problems(2, n=6, m=6, **kind)
    sort, rows = (
        batched(**tensors(made), symmetric=kind["symmetric"], effort=effort, epsilon=None).lower
        for effort in ("sort", "rows")
    )
    assert (rows >= sort).all()
    for b in range(len(rows)):
        x, y, fused = alone(made, b)
        bounds = {c.theorem: float(c.value) for c in gwfast.lower_bound(x, y, **fused, effort="rows").bounds}
        size = (made["C1"][b] ** 2).mean() + (made["C2"][b] ** 2).mean()
        assert sort[b] == pytest.approx(max(bounds["mean-std"], bounds["anova-std"]), abs=1e-9 * size)
        best = max(bounds[name] for name in ("mean-std", "anova-std", "third-lower-bound", "anova-rows"))
        assert best - 0.03 * size <= rows[b] <= best + 1e-9 * size


@given(st.integers(0, 10**6))
def test_potentials_prove_less_than_the_linear_program_has(seed):
    rng = np.random.default_rng(seed)
    G = torch.tensor(rng.normal(size=(1, 6, 4)) * 10.0 ** rng.integers(-3, 4))
    p, q = torch.tensor(rng.dirichlet(np.ones(6), 1)), torch.tensor(rng.dirichlet(np.ones(4), 1))
    low, plan = dual_value(G, p, q)
    best = gwfast.transport.solve_linear(G[0].numpy(), p[0].numpy(), q[0].numpy())
    assert low[0] <= best.lower + 1e-12 * G.abs().max()
    assert (G * plan).sum() >= low[0]
    assert low[0] >= best.lower - 0.05 * G.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    made = problems(3, B=4, n=6, m=5, **kind)
    once = batched(**tensors(made), symmetric=kind["symmetric"])
    rng = np.random.default_rng(0)
    order = [rng.permutation(9)[:6], rng.permutation(8)[:5]]  # places of the points among the padding
    wide = {"C1": np.full((4, 9, 9), np.nan), "C2": np.full((4, 8, 8), np.inf)}
    masks = {"mask1": np.isin(np.arange(9), order[0]), "mask2": np.isin(np.arange(8), order[1])}
    for name, o in zip(("C1", "C2"), order):
        wide[name][:, o[:, None], o] = made[name]
    for name, o, k in (("p", order[0], 9), ("q", order[1], 8)):
        if name in made:
            wide[name] = np.full((4, k), 7.0)
            wide[name][:, o] = made[name]
    if "M" in made:
        wide |= {"M": np.full((4, 9, 8), np.nan), "alpha": made["alpha"]}
        wide["M"][:, order[0][:, None], order[1]] = made["M"]
    wide |= {name: np.tile(mask, (4, 1)) for name, mask in masks.items()}
    padded = batched(**tensors(wide), symmetric=kind["symmetric"])
    for name in ("annealed", "lower", "entropic"):
        np.testing.assert_allclose(getattr(padded, name), getattr(once, name), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(padded.plan[:, order[0][:, None], order[1]], once.plan, atol=1e-9)
    assert padded.plan.sum() == pytest.approx(4)


def test_a_batch_is_its_problems_one_by_one():
    made = problems(4)
    whole = batched(**tensors(made))
    for b in range(6):
        one = batched(**tensors({name: x[b : b + 1] for name, x in made.items()}))
        for name in ("annealed", "lower", "entropic", "plan"):
            np.testing.assert_allclose(getattr(one, name)[0], getattr(whole, name)[b], rtol=1e-10, atol=1e-12)


def test_single_precision_gives_proved_bounds_in_double():
    made = tensors(problems(5))
    short = batched(made["C1"].float(), made["C2"].float())
    same = batched(made["C1"].float().double(), made["C2"].float().double())
    assert short.lower.dtype == short.annealed.dtype == torch.float64
    np.testing.assert_array_equal(short.lower, same.lower)
    np.testing.assert_allclose(short.annealed, same.annealed, rtol=1e-3)


def test_equal_and_constant_spaces():
    C = torch.tensor(problems(6, B=2)["C1"])
    found = batched(
        torch.cat([C, torch.ones(1, 7, 7, dtype=C.dtype)]), torch.cat([C, torch.ones(1, 7, 7).double() * 3])
    )
    assert found.lower[:2].abs().max() < 1e-12
    np.testing.assert_allclose([found.lower[2], found.annealed[2], found.entropic[2]], 4, rtol=1e-9)
    one = batched(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    assert one.annealed == one.lower == one.entropic == 0


def test_temperatures_are_shares_of_the_loss_or_numbers():
    made = tensors(problems(7))
    unit = torch.tensor([1.0])
    assert len(run.falling(unit, unit, 3)) == 19
    hot = batched(**made, epsilon=1e6, relative=False)
    product = torch.full((6, 7, 5), 1 / 35, dtype=torch.float64)
    np.testing.assert_allclose(hot.entropic_plan, product, atol=1e-6)
    loss = [gwfast.certify(*alone(problems(7), b)[:2], product[b].numpy(), effort="sort").upper for b in range(6)]
    np.testing.assert_allclose(hot.entropic, loss, rtol=1e-5)
    share = torch.full((6,), 0.1, dtype=torch.float64)
    each = batched(**made, epsilon=share * hot.entropic, relative=False)
    # a product coupling's loss about the means is the unit of shares
    assert (each.entropic > each.annealed.minimum(each.lower)).all()
    assert batched(**made, epsilon=None).entropic is None


def test_the_entropic_value_is_that_of_the_front_door():
    made = problems(8, B=3)
    found = batched(**tensors(made), epsilon=0.3, relative=False)
    for b in range(3):
        x, y, _ = alone(made, b)
        T = gwfast.entropic_gw(x, y, epsilon=0.3, tol=1e-10, max_iter=3000).plan.toarray()
        value = gwfast.certify(x, y, T, effort="sort").upper + 0.3 * float(np.sum(T * np.log(T * 35)))
        assert found.entropic[b] == pytest.approx(value, rel=1e-3)


def directional(f, x, seed=0):
    """Derivative of a scalar function along a random symmetric direction, by tape and by central differences."""
    rng = np.random.default_rng(seed)
    d = torch.tensor(rng.normal(size=x.shape))
    d = (d + d.mT) / 2 if x.ndim == 3 and x.shape[1] == x.shape[2] else d
    x = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(f(x), x)
    step = 1e-6
    with torch.no_grad():
        difference = (f(x + step * d) - f(x - step * d)) / (2 * step)
    return float((grad * d).sum()), float(difference)


@pytest.mark.parametrize("name", ["C1", "C2", "M", "alpha"])
def test_the_gradient_of_the_entropic_value_is_that_of_the_envelope(name):
    made = tensors(problems(9, fused=True))
    made["alpha"] = made["alpha"].clamp(0.2, 0.8)

    def f(x):
        return batched(**(made | {name: x}), epsilon=1.0, relative=False, steps=300).entropic.sum()

    tape, difference = directional(f, made[name])
    assert tape == pytest.approx(difference, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["C1", "C2", "M", "alpha"])
def test_the_bounds_by_sorting_are_differentiated_as_they_are(kind, name):
    if name in ("M", "alpha") and not kind["fused"]:
        return
    made = tensors(problems(10, **kind))

    def f(x):
        return batched(**(made | {name: x}), symmetric=kind["symmetric"], epsilon=None, effort="sort").lower.sum()

    tape, difference = directional(f, made[name])
    assert tape == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_the_gradient_of_the_annealed_value_holds_the_plan():
    made = tensors(problems(11, fused=True))
    plan = batched(**made).plan
    for name in ("C1", "C2", "M", "alpha"):
        x = made[name].clone().requires_grad_()
        (grad,) = torch.autograd.grad(batched(**(made | {name: x})).annealed.sum(), x)
        C1, C2, M, alpha = ((made | {name: x})[k] for k in ("C1", "C2", "M", "alpha"))
        gap = (C1[:, :, None, :, None] - C2[:, None, :, None, :]) ** 2  # b i k j l
        loss = torch.einsum("bikjl,bik,bjl->b", gap, plan, plan)
        value = ((1 - alpha) * (M * plan).sum((1, 2)) + alpha * loss).sum()
        np.testing.assert_allclose(grad, torch.autograd.grad(value, x)[0], atol=1e-10)


def test_the_bound_by_rows_has_the_gradient_of_its_linear_program():
    made = tensors(problems(12, B=12, n=6, m=6))

    def f(x):
        return batched(**(made | {"C1": x}), epsilon=None).lower.sum()

    tape, difference = directional(f, made["C1"])
    assert tape == pytest.approx(difference, rel=0.1)


@given(st.integers(0, 10**6))
def test_rounded_plans_have_their_marginals(seed):
    rng = np.random.default_rng(seed)
    p, q = torch.tensor(rng.dirichlet(np.full(5, 0.3), 3)), torch.tensor(rng.dirichlet(np.full(4, 0.3), 3))
    T = to_marginals(torch.tensor(rng.exponential(size=(3, 5, 4)) * (rng.random((3, 5, 4)) < 0.5)), p, q)
    assert T.min() >= 0
    np.testing.assert_allclose(T.sum(2), p, atol=1e-15)
    np.testing.assert_allclose(T.sum(1), q, atol=1e-15)


KEPT = {"float64": torch.float64, "bool": torch.bool}


@pytest.mark.parametrize("device", ["xpu", "meta"])
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[4], KINDS[7]])
def test_nothing_is_read_by_the_host_and_no_device_is_mixed(kind, device):
    """Tensors without values on a pretended accelerator: what reads a value or mixes devices raises."""
    made = problems(0, **kind)
    made |= {"mask1": np.ones(made["C1"].shape[:2], bool), "mask2": np.ones(made["C2"].shape[:2], bool)}
    with FakeTensorMode():
        fake = {name: torch.empty(x.shape, dtype=KEPT[x.dtype.name], device=device) for name, x in made.items()}
        if device == "meta":  # a tape needs the driver of its device
            fake["C1"].requires_grad_()
        found = batched(**fake, symmetric=kind["symmetric"], check=False)
        for value in found:
            assert value.device.type == device
            assert value.dtype == torch.float64
        if device == "meta":
            (found.annealed + found.lower + found.entropic).sum().backward()
            assert fake["C1"].grad.device.type == device


def test_the_check_is_what_waits():
    with FakeTensorMode(), pytest.raises((DataDependentOutputException, RuntimeError)):
        batched(torch.empty(2, 3, 3, device="xpu"), torch.empty(2, 3, 3, device="xpu"))


def test_no_launch_depends_on_the_number_of_problems():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.total += 1
            return func(*args, **(kwargs or {}))

    counts = []
    for B in (1, 9):
        with Count() as count:
            batched(**tensors(problems(0, B=B)), check=False)
        counts.append(count.total)
    assert counts[0] == counts[1]


@pytest.mark.cuda
@CUDA
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_the_same(kind):
    made = problems(13, **kind)
    here, there = (batched(**tensors(made, d), symmetric=kind["symmetric"]) for d in ("cpu", "cuda"))
    for a, b in zip(here, there):
        np.testing.assert_allclose(b.cpu(), a, rtol=1e-8, atol=1e-10)


def test_bad_input():
    C = torch.tensor(problems(0)["C1"])
    bad = C.clone()
    bad[4, 1, 2] = torch.nan
    skew = C.clone()
    skew[3, 0, 1] += 1
    half = torch.full((6, 7), 1.0)
    for call, said in (
        (lambda: batched(C.numpy(), C), "C1: expected a torch tensor, found ndarray"),
        (lambda: batched(C[0], C), r"C1: expected shape \(B, n, n\) with n > 0, found \(7, 7\)"),
        (lambda: batched(C, C[:2]), r"C2: expected shape \(6, 7, 7\), found \(2, 7, 7\)"),
        (lambda: batched(C.half(), C), "C1: expected a float32 or float64 tensor, found torch.float16"),
        (lambda: batched(C, C, mask1=half), "mask1: expected a boolean tensor, found torch.float32"),
        (lambda: batched(C, C, half[:, :3]), r"p: expected shape \(6, 7\), found \(6, 3\)"),
        (lambda: batched(C, C, M=C[:, :3]), r"M: expected shape \(6, 7, 7\), found \(6, 3, 7\)"),
        (lambda: batched(C, C, alpha=0.5), "alpha: found one without M"),
        (lambda: batched(C, C, M=C, alpha=1.5), r"alpha\[0\]: expected a number between 0 and 1"),
        (lambda: batched(C, C, M=C, alpha=half[0]), r"alpha: expected a number or shape \(6,\)"),
        (lambda: batched(C, C, epsilon=0), r"epsilon\[0\]: expected a number above 0"),
        (lambda: batched(C, C, steps=0), "steps: expected a whole number of at least 1, found 0"),
        (lambda: batched(C, C, effort="dual"), "effort: expected one of sort, rows; found 'dual'"),
        (lambda: batched(C, bad), r"C2\[4\]: found entries that are NaN or infinite"),
        (lambda: batched(skew, C), r"C1\[3\]: is asymmetric; pass symmetric=False"),
        (lambda: batched(C, C, -half), r"p\[0\]: expected weights >= 0"),
        (lambda: batched(C, C, mask2=half < 0), r"q\[0\]: expected at least one point with mass"),
    ):
        with pytest.raises(gwfast.InputError, match=said):
            call()
