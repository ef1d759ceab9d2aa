"""POT's front door on this library, beside the installed POT: values, shapes, types, what is refused."""

import inspect

import numpy as np
import ot
import pytest
from scipy.sparse import issparse

import gwfast
from gwfast.foreign import plan_of
from gwfast.pot_names import NAMES

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(7, 2)), RNG.normal(size=(6, 2))
C1, C2, M = ot.dist(X, X), ot.dist(Y, Y), ot.dist(X, Y)
A, B = RNG.dirichlet(np.full(7, 3.0)), RNG.dirichlet(np.full(6, 3.0))
CALLS = {
    "plain": {},
    "weights": {"a": A, "b": B},
    "fused": {"M": M},
    "fused, alpha": {"M": M, "alpha": 0.2, "a": A, "b": B},
    "features alone": {"M": M, "alpha": 0},
    "structure alone": {"M": M, "alpha": 1},
    "KL": {"loss": "KL"},
    "fused KL": {"M": M, "loss": "kl"},
    "semi-relaxed": {"unbalanced_type": "semirelaxed", "a": A},
    "semi-relaxed fused": {"unbalanced_type": "semirelaxed", "M": M, "alpha": 0.3},
    "partial": {"unbalanced_type": "partial", "unbalanced": 0.7},
    "partial fused": {"unbalanced_type": "partial", "unbalanced": 0.6, "M": M, "a": A, "b": B},
}


@pytest.mark.parametrize("name", CALLS)
def test_exact_calls_have_pots_attributes_and_no_higher_value(name):
    call = CALLS[name]
    ours, theirs = gwfast.solve_gromov(C1, C2, **call), ot.solve_gromov(C1, C2, **call)
    assert float(ours.value) <= float(theirs.value) + 1e-9 * abs(float(theirs.value))
    assert float(ours.lower) <= float(ours.value) <= float(ours.upper)
    assert ours.plan.shape == theirs.plan.shape
    assert ours.plan.dtype == theirs.plan.dtype
    for mine, other in zip(ours.marginals, theirs.marginals):
        assert mine.shape == other.shape
        if "semi" not in name and "partial" not in name:
            assert np.allclose(mine, other, atol=1e-9)
    assert ours.marginal_a is not None
    assert ours.marginal_b is not None
    assert (ours.value_linear is None) == (theirs.value_linear is None)
    if ours.value_linear is not None:
        assert ours.value_linear + ours.value_quad == pytest.approx(ours.value, rel=1e-9, abs=1e-12)
    assert issparse(ours.sparse_plan)
    assert type(ours.sparse_plan) is type(theirs.sparse_plan)
    assert ours.lazy_plan is theirs.lazy_plan is None
    assert isinstance(ours.log, dict)
    assert isinstance(ours.status, str)


@pytest.mark.parametrize("name", CALLS)
def test_values_of_one_plan_are_pots(name):
    """From one plan, both say the same value and the same two terms."""
    call = CALLS[name]
    theirs = ot.solve_gromov(C1, C2, **call)
    ours = gwfast.solve_gromov(C1, C2, **call, plan_init=theirs.plan)
    again = ot.solve_gromov(C1, C2, **call, plan_init=ours.plan) if call.get("alpha") != 0 else theirs
    assert float(again.value) == pytest.approx(float(ours.value), rel=1e-6, abs=1e-9)
    for part in ("value_linear", "value_quad"):
        mine, other = getattr(ours, part), getattr(again, part)
        if other is not None and call.get("alpha") != 0:
            assert float(mine) == pytest.approx(float(other), rel=1e-5, abs=1e-8)


@pytest.mark.filterwarnings("ignore:M_")
@pytest.mark.parametrize("call", [{}, {"alpha": 1.0}, {"M": M, "alpha": 0.3, "a": A, "b": B}])
def test_penalties_are_those_of_pot(call):
    """POT minimises over two plans, which may differ, and adds their objective: half of `unbalanced` a marginal."""
    theirs = ot.solve_gromov(C1, C2, unbalanced=6.0, **call)
    ours = gwfast.solve_gromov(C1, C2, unbalanced=6.0, **call)
    assert ours.lower <= ours.value <= theirs.value
    T, alpha = theirs.plan, call.get("alpha", 0.5)
    p, q = call.get("a", np.full(7, 1 / 7)), call.get("b", np.full(6, 1 / 6))
    rows, columns = T.sum(axis=1), T.sum(axis=0)
    squares = rows @ C1**2 @ rows + columns @ C2**2 @ columns - 2 * np.sum(T * (C1 @ T @ C2))
    paid = sum(2 * T.sum() * (a @ np.log(a / w)) - T.sum() ** 2 + 1 for a, w in ((rows, p), (columns, q)))
    value = alpha * squares + 3 * paid + (1 - alpha) * (np.sum(call["M"] * T) if "M" in call else 0.0)
    assert float(ours.problem.objective(gwfast.Plan((7, 6), matrix=T))) == pytest.approx(value, rel=1e-9)
    pair = gwfast.solve_gromov(C1, C2, unbalanced=(6.0, 6.0), **call)
    assert pair.value == ours.value
    linear = 0.0 if ours.value_linear is None else ours.value_linear
    assert ours.value_quad + linear < ours.value


@pytest.mark.parametrize(
    "name", ["plain", "weights", "fused", "fused, alpha", "KL", "semi-relaxed", "semi-relaxed fused"]
)
def test_entropic_values_have_pots_regularisation(name):
    call = CALLS[name] | {"reg": 1.0}
    ours, theirs = gwfast.solve_gromov(C1, C2, **call, tol=1e-9), ot.solve_gromov(C1, C2, **call)
    T = ours.plan
    assert float(ours.value) == pytest.approx(float(ours.result.value + np.sum(T * np.log(T + 1e-300))), rel=1e-6)
    linear = 0.0 if ours.value_linear is None else ours.value_linear
    assert linear + ours.value_quad == pytest.approx(ours.result.value, rel=1e-9)
    assert (ours.value_linear is None) == (theirs.value_linear is None)
    assert float(ours.value) <= float(theirs.value) + 1e-4 * abs(float(theirs.value))
    if ours.potentials is not None:
        assert tuple(map(np.shape, ours.potentials)) == ((7,), (6,))
    assert ours.lower <= ours.result.value


def test_entropic_plans_agree_with_pots():
    """At temperatures with one stationary plan; at low ones both end in local optima."""
    ours, theirs = gwfast.solve_gromov(C1, C2, reg=20.0, tol=1e-10), ot.solve_gromov(C1, C2, reg=20.0)
    assert np.allclose(ours.plan, theirs.plan, atol=1e-7)
    assert float(ours.value) == pytest.approx(float(theirs.value), rel=1e-9)
    ours = gwfast.solve_gromov(C1, C2, M, reg=20.0, tol=1e-10)
    plan, log = ot.gromov.entropic_fused_gromov_wasserstein(M, C1, C2, epsilon=20.0, log=True)
    assert np.allclose(ours.plan, plan, atol=1e-7)
    assert float(ours.result.value) == pytest.approx(float(log["fgw_dist"]), rel=1e-6)


@pytest.mark.skipif(ot.__version__ != "0.9.7.post1", reason="what one release of POT does")
def test_pots_door_loses_reg_beside_features_and_ours_does_not():
    """What the page says: it runs at epsilon = 0.1 whatever `reg` is."""
    hot, cold = (ot.solve_gromov(C1, C2, M, reg=reg).plan for reg in (20.0, 5.0))
    assert np.array_equal(hot, cold)
    assert np.array_equal(hot, ot.gromov.entropic_fused_gromov_wasserstein(M, C1, C2, epsilon=0.1))
    ours = [gwfast.solve_gromov(C1, C2, M, reg=reg).plan for reg in (20.0, 5.0)]
    assert not np.allclose(*ours)


def test_potentials_are_duals_of_the_last_linear_program():
    ours = gwfast.solve_gromov(C1, C2, M, A, B, alpha=0.4)
    slack = ours.problem.gradient(ours.plan) - ours.potential_a[:, None] - ours.potential_b
    assert slack.min() > -1e-9
    assert abs(slack * ours.plan).max() < 1e-9
    assert gwfast.solve_gromov(C1, C2, unbalanced_type="semirelaxed").potentials is None


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_torch_in_torch_out_with_gradients():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor(X, dtype=dtype, requires_grad=True)
        costs = torch.cdist(x, x) ** 2, torch.tensor(C2, dtype=dtype), torch.tensor(M, dtype=dtype)
        ours, theirs = gwfast.solve_gromov(*costs), ot.solve_gromov(*costs)
        assert ours.plan.dtype == theirs.plan.dtype == dtype
        assert ours.value.dtype == theirs.value.dtype
        assert torch.equal(ours.sparse_plan.to_dense(), ours.plan)
        ours.value.backward()
        assert bool(torch.isfinite(x.grad).all())
        assert float(x.grad.abs().sum()) > 0
        assert ours.potential_a.shape == (7,)


def test_float32_in_numpy_gives_float64_out():
    narrow = C1.astype(np.float32), C2.astype(np.float32)
    assert gwfast.solve_gromov(*narrow).plan.dtype == np.float64
    assert ot.solve_gromov(*narrow).plan.dtype == np.float32


REFUSED = {
    "loss": (dict(loss="L1"), 'loss: expected "L2" or "KL"'),
    "symmetric": (dict(Ca=np.triu(C1), symmetric=True), "symmetric: found True beside an asymmetric cost"),
    "reg_type": (dict(reg=1.0, reg_type="L2"), "reg_type: found 'L2'"),
    "negative reg": (dict(reg=-1.0), "reg: expected a number above 0"),
    "threads": (dict(n_threads=4), "n_threads: found 4"),
    "method": (dict(method="PGD"), "method: found 'PGD'; exact plans have one"),
    "BAPG": (dict(reg=1.0, method="BAPG"), "method: found 'BAPG'; entropic plans have PGD and PPA"),
    "verbose": (dict(reg=1.0, verbose=True), "verbose: found True"),
    "rtol": (dict(reg=1.0, rtol=0.1), "rtol: found 0.1"),
    "penalty": (dict(unbalanced_type="TV", unbalanced=1.0), "unbalanced"),
    "entropic penalty": (dict(unbalanced=1.0, reg=0.1), "reg: found 0.1 beside a penalty"),
    "type": (dict(unbalanced_type="wide"), "unbalanced_type: expected one of"),
    "mass": (dict(unbalanced_type="partial", unbalanced=1.5), "unbalanced: expected a share of the mass"),
    "partial KL": (dict(unbalanced_type="partial", unbalanced=0.5, loss="KL"), 'loss: found "kl" with partial plans'),
    "NaN": (dict(Ca=C1 * np.nan), "Ca: 49 of 49 entries are NaN"),
    "weights": (dict(a=np.ones(7)), "a: expected weights that sum to 1"),
    "plan": (dict(plan_init=np.ones((2, 2))), "plan_init: expected shape (7, 6)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_missing_is_refused_in_one_line(name):
    change, line = REFUSED[name]
    with pytest.raises(gwfast.InputError) as caught:
        gwfast.solve_gromov(**({"Ca": C1, "Cb": C2} | change))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_partial_plans_without_a_mass_warn_as_pots_do():
    with pytest.warns(UserWarning, match="a balanced plan is computed") as ours:
        gwfast.solve_gromov(C1, C2, unbalanced_type="partial")
    assert ours[0].filename == __file__
    with pytest.warns(UserWarning, match="balanced OT is computed"):
        ot.solve_gromov(C1, C2, unbalanced_type="partial")


def test_the_signature_begins_with_pots():
    def told(door):
        return [(p.name, p.default) for p in inspect.signature(door).parameters.values()]

    theirs = told(ot.solve_gromov)
    assert told(gwfast.solve_gromov)[: len(theirs)] == theirs


class Output:
    """What OTT hands back, as far as it is read."""

    def __init__(self, matrix):
        self.matrix = matrix


def test_certify_takes_what_solvers_return():
    plan, log = ot.gromov.gromov_wasserstein(C1, C2, log=True)
    value, values = ot.gromov.gromov_wasserstein2(C1, C2, log=True)
    result = ot.solve_gromov(C1, C2)
    upper = gwfast.certify(C1, C2, plan, effort="sort").upper
    assert upper == pytest.approx(float(value), rel=1e-9)
    for given in ((plan, log), (value, values), result, Output(plan), gwfast.solve_gromov(C1, C2, plan_init=plan)):
        audit = gwfast.certify(C1, C2, given, effort="sort")
        assert audit.upper <= upper * (1 + 1e-9)
        assert audit.lower <= audit.upper
    ours = gwfast.exact_gw(C1, C2)
    assert gwfast.certify(C1, C2, ours, effort="sort").upper == ours.upper
    assert gwfast.exact_gw(C1, C2, start=result).value <= upper
    with pytest.raises(gwfast.InputError, match="plan: found a OTResult whose plan is None"):
        gwfast.certify(C1, C2, ot.utils.OTResult())
    assert plan_of([[1.0]], "plan") == [[1.0]]


DOORS = {
    "gromov_wasserstein": gwfast.exact_gw,
    "fused_gromov_wasserstein": gwfast.exact_gw,
    "entropic_gromov_wasserstein": gwfast.entropic_gw,
    "entropic_fused_gromov_wasserstein": gwfast.entropic_gw,
    "BAPG_gromov_wasserstein": gwfast.entropic_gw,
    "semirelaxed_gromov_wasserstein": gwfast.exact_gw,
    "semirelaxed_fused_gromov_wasserstein": gwfast.exact_gw,
    "entropic_semirelaxed_fused_gromov_wasserstein": gwfast.entropic_gw,
    "partial_gromov_wasserstein": gwfast.exact_gw,
    "partial_fused_gromov_wasserstein": gwfast.exact_gw,
    "entropic_partial_gromov_wasserstein": gwfast.entropic_gw,
    "fused_unbalanced_gromov_wasserstein": gwfast.exact_gw,
    "gromov_barycenters": gwfast.barycenter,
    "fgw_barycenters": gwfast.barycenter,
    "sampled_gromov_wasserstein": gwfast.sampled_gw,
    "lowrank_gromov_wasserstein_samples": gwfast.exact_gw,
}


@pytest.mark.parametrize("name", DOORS)
def test_every_argument_of_pot_that_we_lack_is_answered_by_name(name):
    theirs = inspect.signature(getattr(ot.gromov, name)).parameters.values()
    ours = inspect.signature(DOORS[name]).parameters
    lacked = [p.name for p in theirs if p.kind is not p.VAR_KEYWORD and p.name not in ours]
    assert [argument for argument in lacked if argument not in NAMES] == []
    for argument in lacked:
        with pytest.raises(gwfast.InputError, match=f"^{argument}: "):
            DOORS[name](C1, C2, **{argument: 1})


def test_a_solve_that_did_not_converge_warns_at_the_line_of_the_caller():
    with pytest.warns(gwfast.ConvergenceWarning, match="max_iter=1") as said:
        gwfast.solve_gromov(C1, C2, reg=1e-3, max_iter=1, tol=1e-12)
    assert [one.filename for one in said] == [__file__]
