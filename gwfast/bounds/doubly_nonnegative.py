"""The doubly nonnegative bound: the level-1 reformulation with Y positive semidefinite, for small problems."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from gwfast.bounds.doubly_nonnegative_dual import CONE, ConeDual, Face, cone_bound_of, improved_cone, scaled_cost
from gwfast.bounds.pace import Pace, seconds_of_sweep, seconds_of_sweeps
from gwfast.bounds.rlt1_dual import REFORMULATION
from gwfast.bounds.rlt1_solver import Reformulation
from gwfast.budget import UNLIMITED, Budget
from gwfast.method import Found, Incumbent, Method, Need, Steps, Turn
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop

__all__ = ["CONE", "Cone", "ConeDual", "ConeResult", "cone_bound", "cone_memory"]

_RELAXATION = 1.9
_LONGEST, _SHORTEST = 10.0, 0.5  # step lengths of the first and the last steps, in units of the reformulation's
_SHORTEN, _EVERY = 0.93, 4  # long steps find the region, short ones settle: factor a step, applied every few steps


def cone_memory(problem: Problem) -> int:
    """Bytes that `cone_bound` needs: about 60 (nm)^2."""
    n, m = problem.shape
    return 60 * (n * m) ** 2


def seconds_of_step(problem: Problem) -> float:
    """Guess of a step, before the first."""
    n, m = problem.shape
    return POLICY.cone_step * (n * m) ** 3 + POLICY.cone_step_base


def cone_seconds(problem: Problem) -> float:
    """Guess of the seconds below which `cone_bound` has nothing to say."""
    n, m = problem.shape
    return POLICY.cone_sweeps * seconds_of_sweep(n * m) + (POLICY.cone_fewest + 4) * seconds_of_step(problem)


class Cone:
    """Doubly nonnegative relaxation, a few steps at a time, started where a `Reformulation` stands.

    Douglas-Rachford splitting between Y >= 0 with mass one and Y = P Y P positive semidefinite, in float32, in the
    scaled units Y / sqrt(p_i q_k p_j q_l).  Each step takes the eigendecomposition of a matrix of size
    (n-1) (m-1) + 1.

    Parameters
    ----------
    run : Reformulation
        Its state is the start, its step length the unit of the step lengths here, which fall as the steps go on.

    Attributes
    ----------
    best : Bound
    dual : ConeDual or None
        What proves `best`; None while that is the reformulation's bound.
    steps : int
    pace : Pace
        Seconds of a step (its sweep) and of a certificate.
    """

    def __init__(self, run: Reformulation):
        self.problem, self.scaled, self.now = run.problem, run.scaled, run.budget.now
        s = self.scaled
        self.best: Bound = run.best
        self.dual: ConeDual | None = None
        self.steps, self.trivial, self.pace = 0, run.trivial, Pace(seconds_of_step(run.problem))
        if self.trivial:
            return
        self.face = Face(s.p, s.q, np.float32)
        self.unit, self.length = run.step * run.norm, 1.0
        self.root = np.multiply.outer(np.sqrt(s.p), np.sqrt(s.q)).ravel().astype(np.float32)
        scale = np.multiply.outer(self.root, self.root)
        W = np.asarray(run.host_state(), dtype=np.float32) * scale
        self.cost = (scaled_cost(s, run.linear) / self.unit).astype(np.float32) * scale
        self.W, self.weights, self.price = W, scale, run.state.price
        self._change_step(_LONGEST, np.maximum(W - self.cost - np.float32(self.price) * scale, 0))

    def _change_step(self, length: float, Y: np.ndarray) -> None:
        """Take steps of another length from here on: the primal Y and the dual (Y - W) unit are kept."""
        ratio = length / self.length
        self.W = Y - (Y - self.W) / np.float32(ratio)
        self.cost = self.cost / np.float32(ratio)
        self.price /= ratio
        self.unit, self.length = self.unit * ratio, length

    def _nonnegative(self) -> np.ndarray:
        """Nearest nonnegative array of mass one to W - cost, by Newton's method for the price of mass."""
        V = self.W - self.cost
        Y = V
        for _ in range(30):
            Y = np.maximum(V - np.float32(self.price) * self.weights, 0)
            mass = float(np.vdot(Y, self.weights))
            if abs(mass - 1) <= 1e-5:
                break
            support = float(np.vdot(self.weights * (Y > 0), self.weights))
            self.price += (mass - 1) / max(support, 0.02)
        return Y

    def run(self, steps: int, until: Budget = UNLIMITED) -> int:
        """Do some steps, O(n^3 m^3) each, and return how many: so few that a certificate still fits into `until`."""
        done, now = 0, until.now()
        while done < steps and not self.trivial and self.pace.fits(until.left):
            Y = self._nonnegative()
            if self.steps and self.steps % _EVERY == 0 and self.length > _SHORTEST:
                self._change_step(max(_SHORTEST, self.length * _SHORTEN**_EVERY), Y)
            G = self.face.down(2 * Y - self.W)
            self.W += np.float32(_RELAXATION) * (self.face.up(_semidefinite(G)) - Y)
            self.steps += 1
            done += 1
            last, now = now, until.now()
            self.pace.swept(now - last)
        return done

    def certify(self) -> Bound:
        """Prove a bound from the current state and keep it if it is the best; O(n^3 m^3) in float64."""
        if self.trivial:
            return self.best
        s, begin = self.scaled, self.now()
        Y = self._nonnegative()
        Z = (Y - self.W).astype(np.float64) * self.unit
        Z = (Z + Z.T) / 2
        face = Face(s.p, s.q, np.float64)
        w, E = eigh(face.down(Z), driver="evd", check_finite=False)
        above = w > 0
        Z -= face.up((E[:, above] * w[above]) @ E[:, above].T)
        Z /= np.multiply.outer(self.root, self.root)
        n, m = self.problem.shape
        dual = improved_cone(s, ConeDual(Z, np.zeros((n, m, m)), s.scale))
        bound = cone_bound_of(s, dual)
        if bound.value > self.best.value:
            self.best, self.dual = bound, dual
        self.pace.certified(self.now() - begin)
        return bound


def _semidefinite(G: np.ndarray) -> np.ndarray:
    """Positive semidefinite part of a symmetric matrix, through the smaller half of its spectrum."""
    w, E = eigh(G, driver="evd", check_finite=False)
    above = w > 0
    if 2 * int(above.sum()) <= len(w):
        return (E[:, above] * w[above]) @ E[:, above].T
    below = ~above
    return G - (E[:, below] * w[below]) @ E[:, below].T


def _groups(run: Reformulation, turn: Turn, steps: int) -> Iterator[tuple[Cone, Stop | None]]:
    """Groups of steps with a proof each, from where the reformulation stands; and why they ended."""
    cone, stop, group = Cone(run), None, 20
    if run.trivial:
        yield cone, Stop.OPTIMAL
        return
    while stop is None:
        best, upper, left = cone.best, turn.incumbent.target, turn.budget.left
        if upper is not None and upper - best.value <= max(turn.incumbent.gap * abs(upper), 2 * best.margin):
            stop = Stop.GAP_REACHED
        elif cone.steps >= steps:
            stop = Stop.ITERATIONS
        elif not cone.pace.fits(left):
            stop = Stop.TIME_LIMIT
        else:
            cone.run(min(cone.pace.group(group, left), steps - cone.steps), turn.budget)
            cone.certify()
            group = 50
        yield cone, stop


@dataclass(frozen=True, eq=False)
class ConeResult:
    """What `cone_bound` hands back; `dual` is None where the reformulation's bound was not improved."""

    bound: Bound
    dual: ConeDual | None
    steps: int
    seconds: float
    stop: Stop


def cone_bound(
    problem: Problem,
    upper: float | None = None,
    gap: float = 0.0,
    budget: Budget = UNLIMITED,
    steps: int = POLICY.cone_steps,
) -> ConeResult | None:
    r"""Lower bound of the objective by the doubly nonnegative relaxation of couplings.

    The level-1 reformulation with Y positive semidefinite besides.  Starts from some sweeps of that bound and is
    never below it.  Any weights, n != m, asymmetric costs, features; meant for nm up to about 1000.

    Parameters
    ----------
    problem : Problem
    upper : float, optional
        Objective of the best plan known; never enters the proof.
    gap : float
        Stop when (upper - bound) / upper is at most this.
    budget : Budget
        No step is begun that would not end before its deadline.
    steps : int
        Most steps.

    Returns
    -------
    ConeResult or None
        None where `cone_memory(problem)` exceeds the memory of the budget.  O(n^3 m^3) a step.

    References
    ----------
    Zhao, Karisch, Rendl, Wolkowicz 1998 for permutations; Chen, Nguyen, Koh, Soh 2024 study another relaxation for
    couplings.
    """
    if cone_memory(problem) > budget.memory:
        return None
    begin = budget.now()
    turn = Turn(budget, incumbent=Incumbent(upper=math.inf if upper is None else upper, gap=gap))
    run = _begun(problem, turn)
    for cone, stop in _groups(run, turn, steps):
        result = ConeResult(cone.best, cone.dual, cone.steps, budget.now() - begin, stop or Stop.TIME_LIMIT)
    run.close()
    return result


def _begun(problem: Problem, turn: Turn) -> Reformulation:
    """The reformulation after the sweeps from which the steps start."""
    run = Reformulation(problem, turn.incumbent.target, budget=turn.budget)
    run.run(POLICY.cone_sweeps, turn.budget.slice(0.5))
    run.certify()
    return run


def _steps(problem: Problem, turn: Turn) -> Steps:
    run = _begun(problem, turn)
    try:
        turn.spend(seconds_of_sweeps(problem.shape[0] * problem.shape[1], POLICY.cone_sweeps))
        yield Found((run.best,))
        before = 0
        for cone, stop in _groups(run, turn, POLICY.cone_steps):
            turn.spend((cone.steps - before + 2) * seconds_of_step(problem))
            before = cone.steps
            yield Found((cone.best,), stop=stop)
    finally:
        run.close()


METHOD = Method(
    "cone",
    "prove",
    (CONE, REFORMULATION),
    _steps,
    need=lambda problem: Need(cone_seconds(problem), cone_memory(problem)),
    duals={CONE: ConeDual},
)
