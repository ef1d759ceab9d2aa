"""Losses other than the square: values, bounds, certificates and gradients, against the sum over four indices."""

import itertools
from dataclasses import replace

import numpy as np
import ot
import pytest

import gwfast
from gwfast.losses import SPLITS, Loss
from strategies import cost, weights

FLOOR = 1e-18
LOSSES = ["kl", "inner"]


def pairs(loss, C1, C2, kind=np.longdouble):
    """L(C1_ij, C2_kl) as (n, m, n, m), written out."""
    a, b = C1.astype(kind)[:, None, :, None], C2.astype(kind)[None, :, None, :]
    if loss == "inner":
        return -2 * a * b
    a, b = np.maximum(a, FLOOR), np.maximum(b, FLOOR)
    return a * np.log(a / b) - a + b


def objective(loss, C1, C2, T, M=None, alpha=1.0):
    T = np.asarray(T, dtype=np.longdouble)
    value = np.einsum("ikjl,ik,jl->", pairs(loss, C1, C2), T, T)
    return value if M is None else (1 - alpha) * (M * T).sum() + alpha * value


def options(loss, M=None, alpha=None):
    floor = FLOOR if loss == "kl" else None
    return {"loss": loss, "floor": floor, "M": M, "alpha": alpha}


def draw(rng, n, m, kind="cloud", symmetric=True):
    C1, C2 = np.abs(cost(rng, n, kind, symmetric)), np.abs(cost(rng, m, kind, symmetric))
    return C1, C2


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_interval_holds_the_best_permutation_and_the_value_is_the_loss(loss, symmetric):
    rng = np.random.default_rng(0)
    for k in range(60):
        n, kind = int(rng.integers(2, 6)), ("cloud", "graph", "ties", "gram", "normal")[k % 5]
        C1, C2 = draw(rng, n, n, kind, symmetric)
        M, alpha = (rng.normal(size=(n, n)), 0.4) if k % 2 else (None, None)
        result = gwfast.exact_gw(C1, C2, effort="rows", **options(loss, M, alpha))
        exact = objective(loss, C1, C2, np.asarray(result.plan), M, 1.0 if alpha is None else alpha)
        assert abs(result.value - exact) <= result.certificate.plan_value.margin
        assert exact <= result.upper
        best = min(
            objective(loss, C1, C2, np.eye(n)[list(t)] / n, M, 1.0 if alpha is None else alpha)
            for t in itertools.permutations(range(n))
        )
        for bound in result.certificate.bounds:
            assert bound.value <= best
        assert result.value <= best + 1e-9 * (1 + abs(best))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_coupling_is_above_the_bounds_and_certify_and_verify_agree(loss):
    rng = np.random.default_rng(1)
    for k in range(12):
        n, m = (int(x) for x in rng.integers(2, 6, 2))
        C1, C2 = draw(rng, n, m, "cloud", k % 3 > 0)
        p, q = weights(rng, n, "spread"), weights(rng, m, "decades")
        proved = gwfast.lower_bound(C1, C2, p, q, effort="dual" if k < 4 else "rows", time_limit=0.3, **options(loss))
        for _ in range(20):
            T = ot.emd(p, q, rng.random((n, m)))
            value = objective(loss, C1, C2, T)
            assert proved.lower <= value + 1e-15 * abs(value)
        audit = gwfast.certify(C1, C2, T, p, q, **options(loss))
        assert audit.upper == pytest.approx(float(value), rel=1e-9)
        again = gwfast.verify(audit, C1, C2, p, q, plan=T, **options(loss))
        assert again.upper == audit.upper
        assert again.lower == pytest.approx(audit.lower, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_both_libraries_and_all_doors_give_one_objective(loss, xp):
    rng = np.random.default_rng(2)
    C1, C2 = draw(rng, 6, 5)
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(5))
    arrays = [xp(x) for x in (C1, C2, p, q)]
    whole = gwfast.Problem.of(*arrays, loss=loss, floor=FLOOR if loss == "kl" else None)
    for result in (
        gwfast.sorted_gw(*arrays, **options(loss)),
        gwfast.exact_gw(*arrays, **options(loss)),
        gwfast.exact_gw(whole),
        gwfast.entropic_gw(*arrays, epsilon=2.0, **options(loss)),
    ):
        T = result.plan.toarray()
        exact = float(objective(loss, C1, C2, np.asarray(result.plan)))
        assert float(result.value) == pytest.approx(exact, rel=1e-12)
        assert float(result.lower) <= float(result.upper)
        assert float(whole.objective(result.plan)) == pytest.approx(exact, rel=1e-12)
        assert result.loss == loss
        with pytest.raises(gwfast.InputError, match=r"^distance: found loss="):
            _ = result.distance
    step = 1e-6 * np.outer([1, -1, 0, 0, 0, 0], [1, -1, 0, 0, 0])
    rise = objective(loss, C1, C2, np.asarray(T) + step) - objective(loss, C1, C2, np.asarray(T) - step)
    slope = np.asarray(whole.gradient(T))
    assert (slope * step).sum() * 2 == pytest.approx(float(rise), rel=1e-6)


def test_values_are_those_of_pot():
    rng = np.random.default_rng(3)
    for k in range(10):
        n, m = 9, 7
        C1, C2 = draw(rng, n, m)
        p, q, M = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m)), rng.random((n, m))
        theirs, log = ot.gromov.fused_gromov_wasserstein(
            M, C1, C2, p, q, loss_fun="kl_loss", alpha=0.7, log=True, max_iter=200
        )
        audit = gwfast.certify(C1, C2, theirs, p, q, effort="sort", **options("kl", M, 0.7))
        assert audit.upper == pytest.approx(log["fgw_dist"], rel=1e-9)
        ours = gwfast.exact_gw(C1, C2, p, q, **options("kl", M, 0.7))
        assert ours.value <= log["fgw_dist"] * (1 + 1e-9), k
    smooth = ot.gromov.entropic_gromov_wasserstein(
        C1, C2, p, q, loss_fun="kl_loss", epsilon=3.0, max_iter=5000, tol=1e-12
    )
    ours = gwfast.entropic_gw(C1, C2, p, q, epsilon=3.0, tol=1e-9, max_iter=5000, **options("kl"))
    np.testing.assert_allclose(np.asarray(ours.plan), smooth, atol=1e-5)


def test_more_atoms_than_are_summed_in_pairs():
    rng = np.random.default_rng(4)
    for loss in LOSSES:
        C1, C2 = draw(rng, 50, 45)
        T = np.full((50, 45), 1 / 2250)
        audit = gwfast.certify(C1, C2, T, effort="sort", **options(loss))
        exact = objective(loss, C1, C2, T)
        assert exact <= audit.upper <= exact + 4 * audit.plan_value.margin
        assert audit.plan_value.margin <= 1e-9 * abs(exact)
    points = rng.normal(size=(1100, 2))  # so many that the search has no matrix
    cloud = gwfast.PointCloud(points, "sqeuclidean", weights=np.full(1100, 1 / 1100))
    result = gwfast.exact_gw(cloud, cloud, loss="inner")
    assert result.value == pytest.approx(-2 * float(cloud.moments.second), rel=1e-9)
    assert result.lower <= -2 * float(cloud.moments.second) <= result.upper


def test_copies_cost_nothing_under_kl():
    rng = np.random.default_rng(5)
    C, order = draw(rng, 8, 8)[0], rng.permutation(8)
    result = gwfast.exact_gw(C, C[np.ix_(order, order)], loss="kl", floor=FLOOR)
    assert result.value == result.lower == 0
    assert result.optimal
    assert "distance" not in str(result)


@pytest.mark.parametrize("loss", LOSSES)
def test_values_and_bounds_have_their_gradients(loss):
    torch = pytest.importorskip("torch", reason="torch is an extra")
    rng = np.random.default_rng(6)
    C1, C2 = (torch.tensor(x + 0.1) for x in draw(rng, 5, 4))
    M, alpha = torch.tensor(rng.random((5, 4))), torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    leaf, other = C1.clone().requires_grad_(), C2.clone().requires_grad_()
    result = gwfast.exact_gw(leaf, other, M=M, alpha=alpha, loss=loss)
    T = result.plan.toarray()
    a, b, share = C1.clone().requires_grad_(), C2.clone().requires_grad_(), alpha.detach().clone().requires_grad_()
    x, y = a[:, None, :, None], b[None, :, None, :]
    table = -2 * x * y if loss == "inner" else x * torch.log(x / y) - x + y
    fixed = (1 - share) * (M * T).sum() + share * torch.einsum("ikjl,ik,jl->", table, T, T)
    fixed.backward()
    result.value.backward()
    for found, expected in ((leaf, a), (other, b), (alpha, share)):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-12)
    bound = lambda C: gwfast.lower_bound(C, C2, effort="sort", loss=loss)["mean-std"].value
    leaf = C1.clone().requires_grad_()
    (slope,) = torch.autograd.grad(bound(leaf), leaf)
    step = torch.zeros_like(C1)
    step[0, 1] = step[1, 0] = 1e-6
    assert float((slope * step).sum()) * 2 == pytest.approx(float(bound(C1 + step) - bound(C1 - step)), rel=1e-5)


def test_what_a_loss_does_not_take_is_one_line():
    C = np.array([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(gwfast.InputError, match=r"^C2: found 2 zeros, .*floor=1e-18"):
        gwfast.exact_gw(C, C, loss="kl")
    with pytest.raises(gwfast.InputError, match=r"^C1: found a cost of -1"):
        gwfast.lower_bound(-C, C + 1, loss="kl")
    with pytest.raises(gwfast.InputError, match=r"^loss: expected one of square, kl, inner"):
        gwfast.sorted_gw(C, C, loss="kl_loss")
    with pytest.raises(gwfast.InputError, match=r'^floor: found 1e-18 with loss="square"'):
        gwfast.exact_gw(C, C, floor=1e-18)
    with pytest.raises(gwfast.InputError, match=r"^loss: found one beside a Problem"):
        gwfast.exact_gw(gwfast.Problem.of(C, C), loss="kl")
    with pytest.raises(gwfast.InputError, match=r"^loss: expected a Loss named one of"):
        gwfast.exact_gw(replace(gwfast.Problem.of(C, C), loss=Loss("of another kind")))
    torch = pytest.importorskip("torch", reason="torch is an extra")
    leaf = torch.tensor(C, requires_grad=True)
    with pytest.raises(gwfast.InputError, match=r"^C1: found zeros, where KL has no gradient"):
        gwfast.exact_gw(leaf, torch.tensor(C + 1), loss="kl")
    assert gwfast.exact_gw(C, C + 1, loss="kl").value > 0  # zeros of the first cost are taken
    assert set(SPLITS) == set(LOSSES)
