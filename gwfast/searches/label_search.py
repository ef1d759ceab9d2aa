"""Semi-relaxed problems as Markov random fields: a dual of the local polytope, and a search over labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gwfast.arrays import item
from gwfast.arrays.precision import EPS
from gwfast.bounds.free_rows import lowered
from gwfast.heuristics.labels import Field, field_of, plan_of, value_of
from gwfast.kernels.markov_field import ascend, certified, search, settle
from gwfast.method import Domain, Found, Method, Need, Steps, Turn
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Stop

SEMI_RELAXED_DUAL = "semi-relaxed-dual"
SEMI_RELAXED_SEARCH = "semi-relaxed-search"


def own_cost(problem: Problem, field: Field) -> tuple[np.ndarray, bool]:
    """What a point costs by itself (n, m), for every plan, and whether some best plan sends each point to one.

    With Q_kl the symmetric part of (A_ii - B_kl)^2 the form x' Q x of a row x of shares is at least sum_k x_k d_k for
    d_k = Q_kk where Q_kl >= (Q_kk + Q_ll) / 2 for all k and l, and always for d_k = min_l Q_kl.  O(n m^2).
    """
    A, B, p = field.A, field.B, field.weights
    unary, vertices = field.unary.copy(), True
    for i in range(len(p)):
        gap = A[i, i] - B
        Q = (gap * gap + gap.T * gap.T) / 2
        own = np.diag(Q)
        if not bool(((own[:, None] + own[None, :]) * (1 + 1e-12) <= 2 * Q).all()):
            unary[i] += p[i] ** 2 * (Q.min(axis=1) - own)
            vertices = False
    return unary, vertices


class Ascent:
    """Messages of a field, and the best bound that they proved.

    Parameters
    ----------
    problem : Problem
        Its first marginal is given, its second free.
    """

    def __init__(self, problem: Problem):
        self.problem, self.field = problem, field_of(problem)
        self.unary, self.vertices = own_cost(problem, self.field)
        n, m = self.unary.shape
        self.messages, self.belief, self.size = np.zeros((n, n, m)), self.unary.copy(), np.zeros(n)
        f = self.field
        spread = float(np.ptp(f.A)) ** 2 + float(np.ptp(f.B)) ** 2
        self.heat = 0.05 * spread * float(f.weights @ f.weights) / n
        self.best, self.kept = None, self.messages

    def sweep(self, heat: float) -> None:
        """One round over all pairs."""
        f = self.field
        ascend(f.A, f.B, f.weights, self.messages, self.belief, heat)

    def certify(self) -> None:
        """Prove what the messages give, and keep them where it is the best so far; they go on as they were."""
        f, messages = self.field, self.messages.copy()
        belief = np.empty_like(self.belief)
        certified(f.A, f.B, f.weights, messages, self.unary, belief, self.size)
        bound = lowered(self.problem, float(belief.min(axis=1).sum()), float(self.size.sum()), SEMI_RELAXED_DUAL)
        if self.best is None or bound.value > self.best.value:
            self.best, self.kept, self.kept_belief = bound, messages, belief
            self.kept_size = float(self.size.sum())

    def labels(self) -> np.ndarray:
        """The labels of least belief, settled."""
        f, labels = self.field, self.kept_belief.argmin(axis=1)
        settle(f.A, f.B, f.weights, f.unary, labels, 100)
        return labels


def _sweep_seconds(problem: Problem) -> float:
    n, m = problem.shape
    return POLICY.piece + 2e-8 * (n * m) ** 2


def _ascend(ascent: Ascent, turn: Turn) -> Steps:
    """Soft sweeps that cool down, then hard ones until they gain nothing; a certificate after every few."""
    seconds, stale = _sweep_seconds(ascent.problem), 0
    ascent.certify()
    for k in range(POLICY.label_sweeps):
        before = ascent.best.value if ascent.best is not None else -np.inf
        cold = k >= POLICY.label_sweeps * 3 // 4
        for _ in range(5):
            ascent.sweep(0.0 if cold else ascent.heat * 0.8 ** (k / 2))
            turn.spend(seconds)
            if not turn.budget.fits(seconds):
                break
        ascent.certify()
        assert ascent.best is not None
        yield Found((ascent.best,))
        gain = ascent.best.value - before
        stale = stale + 1 if gain <= 1e-6 * abs(ascent.best.value) else 0
        if (cold and stale >= 3) or not turn.budget.fits(6 * seconds):
            return


def _dual_steps(problem: Problem, turn: Turn) -> Steps:
    ascent = Ascent(problem)
    yield from _ascend(ascent, turn)
    over = turn.budget.expired or not turn.budget.fits(_sweep_seconds(problem))
    yield Found((), plan_of(problem, ascent.labels()), Stop.TIME_LIMIT if over else Stop.STALLED)


def _search_steps(problem: Problem, turn: Turn) -> Steps:
    ascent = Ascent(problem)
    for found in _ascend(ascent, turn):
        yield Found(stop=found.stop)
    if not ascent.vertices:
        yield Found(stop=Stop.EXHAUSTED)
        return
    f, n = ascent.field, problem.shape[0]
    labels = ascent.labels()
    upper = value_of(f, labels)
    most = POLICY.label_nodes
    node = 2e-8 * n * problem.shape[1] + 1e-7
    while True:
        if not turn.budget.fits(most * node):
            yield Found((), plan_of(problem, labels), Stop.TIME_LIMIT)
            return
        least, nodes = search(f.A, f.B, f.weights, ascent.kept, ascent.kept_belief, upper, labels, most)
        turn.spend(abs(nodes) * node)
        upper = min(upper, least)
        if nodes >= 0:
            # every cost is a sum of some n^2 terms of the sizes of the messages
            size = ascent.kept_size + abs(upper)
            bound = lowered(problem, upper - 8 * n * (n + 32) * EPS * size, size, SEMI_RELAXED_SEARCH)
            yield Found((bound,), plan_of(problem, labels), Stop.OPTIMAL)
            return
        yield Found((), plan_of(problem, labels))
        most *= 4


def _need(problem: Problem) -> Need:
    n, m = problem.shape
    return Need(10 * _sweep_seconds(problem), 24.0 * n * n * m + 16.0 * n * n * m)


def _vertices(problem: Problem) -> bool:
    """Whether the search may apply: diagonals of zeros are the usual case."""
    return item(abs(problem.x.diagonal()).max()) == 0 and item(abs(problem.y.diagonal()).max()) == 0


DUAL = Method(
    "semi-relaxed dual",
    "dual",
    (SEMI_RELAXED_DUAL,),
    _dual_steps,
    domain=Domain(marginals=("semi_relaxed",)),
    need=_need,
)
SEARCH = replace(
    DUAL,
    name="label search",
    effort="prove",
    theorems=(SEMI_RELAXED_SEARCH,),
    steps=_search_steps,
    settles=lambda problem: problem.shape[0] * np.log2(problem.shape[1] + 1) <= 24 and _vertices(problem),
)
