"""Gradients with respect to weights, against finite differences; alpha is a number of any kind, with its gradient."""

import numpy as np
import pytest

import gwfast
from strategies import cost

torch = pytest.importorskip("torch", reason="torch is an extra")

CALLS = {
    "sorted_gw": lambda *a, **k: gwfast.sorted_gw(*a, **k),
    "exact_gw": lambda *a, **k: gwfast.exact_gw(*a, **k),
    "entropic_gw": lambda *a, **k: gwfast.entropic_gw(*a, epsilon=0.1, **k),
    "lower_bound": lambda *a, **k: gwfast.lower_bound(*a, **k),
    "certify": lambda C1, C2, p, q, **k: gwfast.certify(C1, C2, p.detach()[:, None] * q.detach(), p, q, **k),
    "verify": lambda *a, **k: gwfast.verify(gwfast.lower_bound(*(x.detach() for x in a)), *a, **k),
}


def arguments(requires=""):
    rng = np.random.default_rng(0)
    made = {
        "C1": cost(rng, 5, "cloud"),
        "C2": cost(rng, 4, "cloud"),
        "p": rng.dirichlet(np.ones(5)),
        "q": rng.dirichlet(np.ones(4)),
    }
    return [torch.tensor(x, requires_grad=name == requires) for name, x in made.items()]


@pytest.mark.parametrize("weights", ["p", "q"])
@pytest.mark.parametrize("door", ["sorted_gw", "lower_bound", "certify", "verify"])
def test_weights_that_ask_for_a_gradient_are_refused(door, weights):
    with pytest.raises(gwfast.InputError, match=rf"^{weights}: .* gradient, .*{weights}.detach\(\)"):
        CALLS[door](*arguments(weights))
    with torch.no_grad():  # nothing is asked here
        CALLS[door](*arguments(weights))


def minimum(door, C1, C2, p, q, **options):
    """What a door minimises, with a gradient in the weights."""
    if door == "exact_gw":
        return gwfast.exact_gw(C1, C2, p, q, **options).value
    options |= {"epsilon": 0.3, "tol": 1e-11, "max_iter": 20_000}
    return gwfast.entropic_gw(C1, C2, p, q, **options).regularised


@pytest.mark.parametrize("loss", ["square", "kl", "inner"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("door", ["exact_gw", "entropic_gw"])
def test_the_minimum_has_the_gradient_of_the_weights(door, symmetric, loss):
    rng = np.random.default_rng(0)
    C1, C2 = (torch.tensor(np.abs(cost(rng, n, "cloud", symmetric)) + 0.1, requires_grad=True) for n in (6, 5))
    p, q = (torch.tensor(rng.dirichlet(3 * np.ones(n)), requires_grad=True) for n in (6, 5))
    options = {"M": torch.tensor(rng.random((6, 5))), "alpha": 0.6, "loss": loss}
    value = minimum(door, C1, C2, p, q, **options)
    slopes = torch.autograd.grad(value, (p, q, C1, C2))
    assert float(slopes[0] @ p.detach()) == pytest.approx(0, abs=1e-12)  # scaling the weights changes nothing
    ways = [torch.tensor(rng.normal(size=n)) for n in (6, 5)]
    ways = [way - way.mean() for way in ways]
    rises = []
    for sign in (1, -1):
        moved = [w.detach() + sign * 1e-6 * way for w, way in zip((p, q), ways)]
        rises.append(float(minimum(door, C1.detach(), C2.detach(), *moved, **options)))
    expected = (rises[0] - rises[1]) / 2e-6
    assert float(slopes[0] @ ways[0] + slopes[1] @ ways[1]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert all(slope.abs().sum() > 0 for slope in slopes)


def test_the_gradient_of_weights_is_in_the_dtype_of_the_caller_and_in_the_upper_end():
    C1, C2, p, q = (x.float() for x in arguments())
    p.requires_grad_()
    result = gwfast.exact_gw(C1, C2, p, q)
    assert result.value.dtype is torch.float32
    (slope,) = torch.autograd.grad(result.value, p, retain_graph=True)
    (other,) = torch.autograd.grad(result.upper, p)
    torch.testing.assert_close(slope, other)
    assert slope.dtype is torch.float32


def test_where_there_is_no_gradient_of_weights_asking_for_it_is_one_line():
    C1, C2, p, q = arguments("p")
    smooth = gwfast.entropic_gw(C1, C2, p, q, epsilon=0.1)
    with pytest.raises(gwfast.InputError, match=r"^p, q: .* take result\.regularised"):
        smooth.value.backward()
    C = torch.tensor(cost(np.random.default_rng(1), 4, "cloud"), requires_grad=True)
    p = torch.full((4,), 0.25, dtype=torch.float64, requires_grad=True)
    result = gwfast.exact_gw(C, C.detach() + 0.1 * C.detach() ** 2, p)
    torch.autograd.grad(result.value, C, retain_graph=True)  # the costs have theirs
    with pytest.raises(gwfast.InputError, match=r"^p, q: the matches of the plan fall into 4 parts"):
        result.value.backward()
    p = torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    with pytest.raises(gwfast.InputError, match=r"^p: found 2 points without mass"):
        gwfast.exact_gw(C, C, p)


@pytest.mark.parametrize("make", [gwfast.Dense, gwfast.PointCloud, gwfast.Gram])
def test_weights_of_a_space_that_ask_for_a_gradient_are_refused(make):
    points = torch.eye(4, dtype=torch.float64)
    weights = torch.full((4,), 0.25, dtype=torch.float64, requires_grad=True)
    with pytest.raises(gwfast.InputError, match=r"C1.weights: .* gradient"):
        gwfast.sorted_gw(make(points, weights=weights), torch.eye(4))
    with pytest.raises(gwfast.InputError, match=r"C2.weights: .* gradient"):
        gwfast.sorted_gw(torch.eye(4), make(points, weights=torch.softmax(weights, 0)))


@pytest.mark.parametrize("alpha", [np.float32(0.25), np.array(0.25), torch.tensor(0.25), np.float64(0.25)])
def test_alpha_of_any_kind(alpha):
    C1, C2, p, q = arguments()
    M = torch.ones(5, 4)
    expected = gwfast.exact_gw(C1, C2, p, q, M=M, alpha=0.25)
    result = gwfast.exact_gw(C1, C2, p, q, M=M, alpha=alpha)
    assert float(result.value) == float(expected.value)
    assert float(result.lower) == float(expected.lower)
    numbers = [x.numpy() for x in (C1, C2, p, q)]
    assert gwfast.sorted_gw(*numbers, M=M.numpy(), alpha=alpha).value > 0


@pytest.mark.parametrize("alpha", [np.array([0.5]), torch.tensor([0.5]), np.array(True), torch.tensor(float("nan"))])
def test_alpha_that_is_no_number(alpha):
    C1, C2, p, q = arguments()
    with pytest.raises(gwfast.InputError, match=r"^alpha: expected"):
        gwfast.sorted_gw(C1, C2, p, q, M=torch.ones(5, 4), alpha=alpha)


@pytest.mark.parametrize("door", ["sorted_gw", "exact_gw", "entropic_gw"])
def test_alpha_has_its_gradient(door):
    C1, C2, p, q = arguments()
    M = 0.3 * torch.arange(20, dtype=torch.float64).reshape(5, 4)
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    result = CALLS[door](C1, C2, p, q, M=M, alpha=alpha)
    (slope,) = torch.autograd.grad(result.value, alpha)
    T = result.plan.toarray()
    gap = C1[:, None, :, None] - C2[None, :, None, :]
    structure = torch.einsum("ikjl,ik,jl->", gap**2, T, T)
    assert float(slope) == pytest.approx(float(structure - (M * T).sum()), rel=1e-9)


@pytest.mark.parametrize("theorem", ["first-lower-bound", "mean-std", "anova-std"])
def test_sorting_bounds_have_the_gradient_of_alpha(theorem):
    C1, C2, p, q = arguments()
    M = torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bound = lambda a: gwfast.lower_bound(C1, C2, p, q, M=M, alpha=a, effort="sort")[theorem]
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    found = bound(alpha)
    assert isinstance(found.margin, float)
    (slope,) = torch.autograd.grad(found.value, alpha)
    step = 1e-6
    expected = (float(bound(0.4 + step).value) - float(bound(0.4 - step).value)) / (2 * step)
    assert float(slope) == pytest.approx(expected, rel=1e-5)
