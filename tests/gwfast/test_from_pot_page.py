"""Every line of the table of the page "From POT" is run beside POT's."""

import re
import warnings
from pathlib import Path

import numpy as np
import ot
import pytest
from scipy.special import xlogy

import gwfast
from gwfast.pot_names import NAMES

PAGE = (Path(__file__).parents[2] / "docs" / "from_pot.md").read_text()
LINES = [[cell.strip(" `") for cell in line.strip("| ").split(" | ")] for line in PAGE.splitlines() if "| `" in line]
CALLS = [line for line in LINES if len(line) == 2 and line[0].startswith("ot.")]
ARGUMENTS = [line[0] for line in LINES if not line[0].startswith("ot.")]
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(9, 2)), RNG.normal(size=(8, 2))
P, Q = RNG.dirichlet(np.full(9, 5.0)), RNG.dirichlet(np.full(8, 5.0))
C1, C2, M = ot.dist(X, X), ot.dist(Y, Y), ot.dist(X, Y)
VALUES = {"ot": ot, "gwfast": gwfast, "X": X, "Y": Y, "C1": C1, "C2": C2, "M": M, "p": P, "q": Q}
VALUES |= {"e": 5.0, "s": 0.7, "r": 2.0, "T": np.outer(P, Q)}


def marginals(call):
    if "Partial" in call:
        return gwfast.Partial(VALUES["s"])
    if "Unbalanced" in call:
        return gwfast.Unbalanced(VALUES["r"])
    return gwfast.SemiRelaxed() if "SemiRelaxed" in call else None


def objective(call, plan):
    """Of a plan, for the problem that a call of ours states."""
    parts = {"marginals": marginals(call)}
    if "kl" in call:
        parts |= {"loss": "kl", "floor": 1e-18}
    if "M=M" in call or "C2, M" in call:
        parts |= {"M": M, "alpha": 0.3 if "alpha=0.3" in call else 0.5}
    weights = (P,) if isinstance(parts["marginals"], gwfast.SemiRelaxed) else (P, Q)
    value = float(gwfast.Problem.of(C1, C2, *weights, **parts).objective(gwfast.Plan(plan.shape, matrix=plan)))
    smooth = "entropic" in call or "reg=e" in call
    return value + (VALUES["e"] * float(xlogy(plan, plan).sum()) if smooth and "PPA" not in call else 0.0)


def test_the_lines_were_found():
    assert len(CALLS) == 25
    assert len(ARGUMENTS) == 15


@pytest.mark.parametrize(
    ("theirs", "ours"), CALLS, ids=[line[0].split("(")[0] + str(k) for k, line in enumerate(CALLS)]
)
def test_a_line_of_the_table_answers_the_same_question(theirs, ours):
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # of POT's Sinkhorn
        other = np.asarray(eval(theirs, VALUES))
    mine = np.asarray(eval(ours, VALUES))
    assert mine.shape == other.shape
    assert mine.dtype == other.dtype == np.float64
    if "barycenter" in ours:
        return  # values are compared in test_barycenter
    if mine.ndim == 0:
        if "entropic" in theirs:  # of one stationary plan
            assert mine == pytest.approx(other, rel=1e-3)
        else:
            assert mine <= other * (1 + 1e-9)
        return
    plans = marginals(ours)
    if not isinstance(plans, gwfast.Partial | gwfast.Unbalanced):
        assert np.allclose(mine.sum(axis=1), P)
    if plans is None:
        assert np.allclose(mine.sum(axis=0), Q)
    first, second = objective(ours, mine), objective(ours, other)
    assert first <= second + 0.002 * abs(second)


def test_every_argument_that_the_page_names_is_answered():
    for cell in ARGUMENTS:
        for name in re.findall(r"\w+", cell):
            assert name in NAMES, name
