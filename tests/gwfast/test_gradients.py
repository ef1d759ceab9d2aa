"""Torch gradients against finite differences."""

import numpy as np
import pytest

import gwfast
from strategies import cost

torch = pytest.importorskip("torch", reason="torch is an extra")


def tensors(rng, symmetric, weighted):
    C1, C2 = torch.tensor(cost(rng, 6, "cloud", symmetric)), torch.tensor(cost(rng, 5, "cloud", symmetric))
    p = torch.tensor(rng.dirichlet(np.ones(6))) if weighted else None
    return C1, C2, p


def differences(f, x, step=1e-6):
    out = torch.zeros_like(x)
    for k in range(x.numel()):
        d = torch.zeros(x.numel(), dtype=x.dtype)
        d[k] = step
        d = d.reshape(x.shape)
        out.view(-1)[k] = (f(x + d) - f(x - d)) / (2 * step)
    return out


def entropic(*arguments):
    return gwfast.entropic_gw(*arguments, epsilon=0.3)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("door", [gwfast.sorted_gw, gwfast.exact_gw, entropic])
def test_value_has_the_gradient_at_the_fixed_plan(door, symmetric, weighted):
    C1, C2, p = tensors(np.random.default_rng(0), symmetric, weighted)
    plan = door(C1, C2, p).plan.toarray()

    def fixed(C):
        q = plan.sum(0)
        r = plan.sum(1)
        return r @ (C * C) @ r + q @ (C2 * C2) @ q - 2 * (plan * (C @ plan @ C2.T)).sum()

    leaf = C1.clone().requires_grad_()
    result = door(leaf, C2, p)
    result.value.backward()
    torch.testing.assert_close(leaf.grad, differences(fixed, C1), rtol=1e-6, atol=1e-8)
    assert float(result.value.detach()) == pytest.approx(float(fixed(C1)), rel=1e-10)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("theorem", ["first-lower-bound", "eccentricity", "mean-std", "anova-first", "anova-std"])
def test_sorting_bounds_are_differentiable(symmetric, theorem):
    C1, C2, p = tensors(np.random.default_rng(3), symmetric, True)
    if symmetric:  # move along symmetric directions: the bound is one of the symmetric problem
        free = C1.clone().requires_grad_()
        value = lambda C: gwfast.lower_bound((C + C.T) / 2, C2, p, effort="sort")[theorem].value
    else:
        free = C1.clone().requires_grad_()
        value = lambda C: gwfast.lower_bound(C, C2, p, effort="sort")[theorem].value
    value(free).backward()
    torch.testing.assert_close(free.grad, differences(value, C1), rtol=1e-4, atol=1e-6)


def test_gradient_reaches_points_and_features():
    rng = np.random.default_rng(5)
    x = torch.tensor(rng.normal(size=(7, 2)), requires_grad=True)
    y = torch.tensor(rng.normal(size=(6, 2)))
    M = torch.tensor(rng.random((7, 6)), requires_grad=True)
    result = gwfast.exact_gw(gwfast.PointCloud(x), gwfast.PointCloud(y), M=M, alpha=0.5)
    result.value.backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0
    torch.testing.assert_close(M.grad, 0.5 * result.plan.toarray())


def test_descent_on_points_lowers_the_value():
    rng = np.random.default_rng(6)
    x = torch.tensor(rng.normal(size=(8, 2)), requires_grad=True)
    y = gwfast.PointCloud(torch.tensor(rng.normal(size=(8, 2))), "sqeuclidean")
    values = []
    for _ in range(20):
        value = gwfast.exact_gw(gwfast.PointCloud(x, "sqeuclidean"), y).value
        (gradient,) = torch.autograd.grad(value, x)
        with torch.no_grad():
            x -= 2e-3 * gradient
        values.append(float(value.detach()))
    assert values[-1] < 0.9 * values[0]


def test_dtype_of_the_caller_comes_back_and_the_bound_stays_below():
    rng = np.random.default_rng(7)
    for seed in range(20):
        C1, C2 = cost(rng, 5, "cloud"), cost(rng, 5, "cloud")
        single = torch.tensor(C1, dtype=torch.float32), torch.tensor(C2, dtype=torch.float32)
        result = gwfast.exact_gw(*single, effort="rows")
        assert result.value.dtype is torch.float32
        assert result.plan.toarray().dtype is torch.float32
        double = gwfast.lower_bound(*(t.double() for t in single), effort="rows")
        assert float(result.lower) <= float(double.lower), seed
