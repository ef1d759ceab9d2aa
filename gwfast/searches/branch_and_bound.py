"""Exact search over permutations: branch and bound on the level-1 reformulated cost."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from gwfast.arrays import from_numpy, to_numpy
from gwfast.arrays.precision import EPS
from gwfast.bounds.linear import minimum
from gwfast.bounds.pace import seconds_of_sweep
from gwfast.bounds.quadratic import quadratic_bound
from gwfast.bounds.rlt1_dual import ReformulationDual, constant_part, processors
from gwfast.bounds.rlt1_solver import Reformulation
from gwfast.bounds.scaled import Scaled, scaled
from gwfast.budget import UNLIMITED, Budget
from gwfast.heuristics.permutations import good_permutation
from gwfast.kernels.gilmore_lawler import cheap_search
from gwfast.kernels.hahn_grant import reduce_rows, search, value_of
from gwfast.method import Domain, Found, Method, Need, Steps, Turn
from gwfast.plan import Plan
from gwfast.policy import POLICY
from gwfast.problem import Problem
from gwfast.result import Bound, Stop
from gwfast.searches.permutation_slack import permutation_slack
from gwfast.searches.search_path import SearchPath

PERMUTATIONS = "permutations"
COUPLINGS = "branch-and-bound"


@dataclass(frozen=True, eq=False)
class PermutationResult:
    """What the search found and proved.

    Attributes
    ----------
    plan : Plan
        Best permutation.
    bound : Bound
        Lower bound over permutations only.
    coupling_bound : Bound
        Lower bound over all couplings that follows: less by the slack of `permutation_slack`.
    nodes : int
    seconds : float
    stop : Stop
        OPTIMAL where the tree was exhausted.
    """

    plan: Plan
    bound: Bound
    coupling_bound: Bound
    nodes: int
    seconds: float
    stop: Stop


def search_memory(problem: Problem) -> int:
    """Bytes that `permutation_search` needs: the reduced costs of one path of the tree, about 8 n^5 / 5."""
    n = problem.shape[0]
    return 8 * sum(r**4 + 3 * r * r for r in range(1, n + 1)) + 4 * n**4


def search_seconds(n: int) -> float:
    """Guess of the seconds that the search needs before it has anything to say."""
    return POLICY.tree_root * n**5 + 100 * seconds_of_sweep(n * n)


def permutation_search(
    problem: Problem,
    start: np.ndarray | None = None,
    gap: float = 0.0,
    budget: Budget = UNLIMITED,
    node_limit: int = POLICY.tree_nodes,
    sweeps: int | None = None,
) -> PermutationResult | None:
    r"""Minimise the objective over permutations, with a proof.

    At the root the cost of pairs of pairs is reformulated by the dual of the level-1 reformulation; at every node
    the dual ascent of Hahn and Grant raises the bound, and children inherit the reduced costs.

    Parameters
    ----------
    problem : Problem
        n = m and uniform weights.
    start : integer array (n,), optional
        Permutation to improve first, besides the rounded plan of the quadratic bound.
    gap : float
        Stop when (value - bound) / value is at most this.
    budget : Budget
    node_limit : int
        Most nodes.
    sweeps : int, optional
        Sweeps of the reformulation at the root; chosen by size without it.

    Returns
    -------
    PermutationResult or None
        None where the weights are not uniform, n != m, or `search_memory(problem)` exceeds that of the budget.
        O(r^5) a node with r points left, exponentially many nodes in the worst case.

    References
    ----------
    Hahn and Grant 1998; Adams and Johnson 1994.
    """
    if not problem.uniform or search_memory(problem) > budget.memory:
        return None
    begin = budget.now()
    tree = _Tree(problem, start, sweeps, budget)
    stop = tree.run(gap, budget, node_limit, _most(problem, budget)) or Stop.TIME_LIMIT
    bound, coupling = tree.bounds()
    return PermutationResult(tree.plan, bound, coupling, tree.nodes, budget.now() - begin, stop)


def _most(problem: Problem, budget: Budget) -> int:
    """Searches that may share the tree: one a processor, as far as the memory goes."""
    return max(1, min(processors(), int(min(budget.memory / search_memory(problem), 2**16))))


class _Tree:
    """The searches of a tree; costs are divided by `unit` so that the incumbent is about one."""

    def __init__(self, problem: Problem, start: np.ndarray | None, sweeps: int | None, budget: Budget):
        self.problem, self.s = problem, scaled(problem)
        s, n = self.s, problem.shape[0]
        half = budget.slice(0.5)
        plans = [to_numpy(quadratic_bound(problem, 15, budget.slice(0.1))[1].toarray())]
        if start is not None:
            plans.append(np.eye(n)[start])
        start = good_permutation(s, plans)
        M = n * s.features
        value = value_of(s.first, s.second, M, start.astype(np.int64))
        C, L, constant = _root_costs(problem, s, s.outside(value / (n * n)), sweeps, half.less(POLICY.tree_root * n**5))
        # far below the cost of a forbidden pair
        self.unit = max(abs(value), float(np.abs(C).max()) / 10, float(np.abs(L).max()) / 10) or 1e-30
        root = math.sqrt(self.unit)
        self.A, self.B, self.M = s.first / root, s.second / root, M / self.unit
        self.best = np.append(start.astype(np.float64), value / self.unit)
        self.closed_nodes = 0
        self.paths = [self._root(C / self.unit, L / self.unit, constant / self.unit)]

    def _root(self, C: np.ndarray, L: np.ndarray, constant: float) -> SearchPath:
        """First node, the rounding margin of the whole search, and the choice of engine."""
        s, n = self.s, self.problem.shape[0]
        peak = max(float(np.abs(C).max()), float(np.abs(L).max()) / n, abs(constant) / n**2, 1e-30)
        # every entry is rewritten a few times a round, on at most n levels, and a permutation meets n^2 entries
        self.margin = 8 * n * n * (n * (POLICY.ascent_rounds + 2) + 16) * EPS * peak + s.margin * n * n / self.unit
        self.tolerance = 1e-9 * abs(self.best[n]) + self.margin
        reduce_rows(L, C, np.empty((3, n), np.int64), np.empty(n), np.empty(n, np.bool_), np.empty(n))
        root = constant + minimum(L, s.p, s.q).lower * n
        self.cheap = n < POLICY.cheap_points and root < (1 - POLICY.cheap_gap) * self.best[n]
        if self.cheap:
            self.orders = (np.argsort(self.A, axis=1), np.argsort(self.B, axis=1))
            linear = np.zeros((n, n, n))
            linear[0] = self.M + (np.diag(self.A)[:, None] - np.diag(self.B)[None, :]) ** 2
            costs, offset, first = (linear,), np.empty(0, np.int64), -math.inf
        else:
            offset = np.concatenate([[0], np.cumsum([r**4 for r in range(n, 0, -1)])])
            store, leaders, first = np.empty(offset[-1]), np.zeros((n, n * n)), constant
            store[: n**4], leaders[0] = C.ravel(), L.ravel()
            costs = (store, leaders)
        rows, cols = (np.zeros((n, n + 1), np.int64) for _ in range(2))
        rows[0, :n] = cols[0, :n] = np.arange(n)
        lower = np.zeros(n)
        lower[0] = first
        kids, counts = np.zeros((n, n, 2), np.int64), np.zeros(n, np.int64)
        state = np.array([0, 1, 0])
        return SearchPath(
            costs,
            offset,
            np.zeros(n),
            rows,
            cols,
            lower,
            kids,
            np.zeros((n, n)),
            counts,
            counts.copy(),
            state,
            self.best,
        )

    def _search(self, path: SearchPath, budget: int) -> bool:
        """Search for some nodes; returns whether the path is exhausted."""
        A, B, M = self.A, self.B, self.M
        if self.cheap:
            return cheap_search(A, B, M, *self.orders, *path.costs, path.fixed, path.tree, self.tolerance, budget)
        store, leaders = path.costs
        rounds = POLICY.ascent_rounds
        return search(A, B, M, leaders, store, path.offset, path.tree, self.tolerance, rounds, budget)

    @property
    def plan(self) -> Plan:
        """The best permutation."""
        target = self.best[:-1].astype(np.int64)
        return Plan.from_permutation(from_numpy(target, self.problem.p), self.problem.p)

    @property
    def nodes(self) -> int:
        return self.closed_nodes + sum(int(path.state[2]) for path in self.paths)

    def open_bound(self) -> float:
        """Least bound of the nodes not yet explored, at most the incumbent less the tolerance of pruning."""
        low = self.best[-1] - self.tolerance
        return min([low, *(path.open_bound() for path in self.paths)])

    def run(self, gap: float, budget: Budget, node_limit: int, most: int, slices: int = 1 << 62) -> Stop | None:
        """Search in slices, on up to `most` processors, until exhausted or a limit is met; None after some slices.

        The slices are counted in nodes and meet at their ends, where incumbents and children are shared: runs that
        no deadline cuts repeat exactly.
        """
        n = self.problem.shape[0]
        nodes = POLICY.cheap_slice if self.cheap else max(1, POLICY.tree_slice // n**5)
        seconds = POLICY.cheap_node if self.cheap else POLICY.tree_node * n**5  # of a node
        with ExitStack() as stack:
            pool = None
            while True:
                begin, before, time_left = budget.now(), self.nodes, budget.left
                if seconds >= time_left:
                    return Stop.TIME_LIMIT
                left = node_limit - before
                if left <= 0:
                    return Stop.ITERATIONS
                active = self.paths[:left]
                each = min(nodes, left // len(active))
                if 3 * seconds * each > time_left:  # the last slices, which only a deadline makes shorter
                    each = max(1, int(time_left / (3 * seconds)))
                share = [each] * len(active)
                if len(active) > 1:  # small trees never get here, and start no threads
                    pool = pool or stack.enter_context(ThreadPoolExecutor(most))
                    done = list(pool.map(self._search, active, share))
                else:
                    done = [self._search(active[0], share[0])]
                done += [False] * (len(self.paths) - len(active))
                last = (budget.now() - begin) * len(active) / max(1, self.nodes - before)
                seconds = max(last, (seconds + last) / 2)  # deep nodes are cheap, and the next one may be none of them
                if self._meet(done, most):
                    return Stop.OPTIMAL
                if self.best[n] - self.open_bound() <= gap * abs(self.best[n]):
                    return Stop.GAP_REACHED
                slices -= 1
                if slices <= 0:
                    return None

    def _meet(self, done: list[bool], most: int) -> bool:
        """Share the incumbent and the work; returns whether nothing is left."""
        self.best = min((path.best for path in self.paths), key=lambda best: best[-1]).copy()
        self.closed_nodes += sum(int(path.state[2]) for path, over in zip(self.paths, done) if over)
        self.paths = [path for path, over in zip(self.paths, done) if not over]
        for path in self.paths:
            path.best[:] = self.best
        for path in tuple(self.paths):
            if len(self.paths) < most and (other := path.halved()) is not None:
                self.paths.append(other)
        return not self.paths

    def bounds(self) -> tuple[Bound, Bound]:
        """The bound over permutations, and the one over couplings."""
        s, n = self.s, self.problem.shape[0]
        value = (self.open_bound() - self.margin) * self.unit / (n * n)
        slack = permutation_slack(s)
        return s.lower(value, PERMUTATIONS), s.lower(value - slack, COUPLINGS)


def _root_costs(
    problem: Problem, s: Scaled, upper: float, sweeps: int | None, until: Budget
) -> tuple[np.ndarray, np.ndarray, float]:
    """Costs of pairs of pairs C (n, n, n, n), of pairs L (n, n), and the constant, after some sweeps."""
    n = problem.shape[0]
    run = Reformulation(problem, upper if upper > 0 else None, budget=replace(until, deadline=math.inf))
    if not run.trivial:
        run.run(sweeps if sweeps is not None else (100 if n < 10 else 250), until)
        run.certify(exact=False)
    dual = run.dual
    run.close()
    C = reformulated_cost(s, dual)
    paid = np.tensordot(s.p, dual.rows, 1) + np.tensordot(s.q, dual.cols, 1)
    index = np.arange(n)
    L = n * (s.linear - paid) + C[index[:, None], index[None, :], index[:, None], index[None, :]]
    return C, L, n * n * constant_part(s)


def reformulated_cost(s: Scaled, dual: ReformulationDual) -> np.ndarray:
    """Cost Q_ik,jl + A_i,jl + B_k,jl (n, m, n, m) of a dual."""
    x, y = s.effects
    C = np.einsum("ij,kl->ikjl", -x.rest, y.rest)
    C = 2 * C if s.symmetric else C - np.einsum("ji,lk->ikjl", x.rest, y.rest)
    C += dual.rows[:, None]
    C += dual.cols[None]
    return C


def _steps(problem: Problem, turn: Turn, over: int = 1) -> Steps:
    """The search; it proves its bound over permutations (0) or over couplings (1)."""
    plan = turn.incumbent.plan
    start = None if plan is None or plan.permutation is None else to_numpy(plan.permutation)
    tree = _Tree(problem, start, None, turn.budget)
    turn.spend(search_seconds(problem.shape[0]))
    stop, nodes = None, 0
    node = POLICY.cheap_node if tree.cheap else POLICY.tree_node * problem.shape[0] ** 5
    while stop is None:
        gap = max(turn.incumbent.gap, POLICY.least_gap)
        stop = tree.run(gap, turn.budget, POLICY.tree_nodes, _most(problem, turn.budget), 1)
        turn.spend((tree.nodes - nodes) * node + POLICY.piece)
        nodes = tree.nodes
        yield Found((tree.bounds()[over],), tree.plan, stop)


def _permutation_steps(problem: Problem, turn: Turn) -> Steps:
    yield from _steps(problem, turn, 0)


METHOD = Method(
    "branch and bound",
    "prove",
    (COUPLINGS,),
    _steps,
    domain=Domain(permutations=True),
    suits=lambda problem: problem.shape[0] <= POLICY.tree_points,
    settles=lambda problem: problem.shape[0] <= POLICY.tree_certain,
    need=lambda problem: Need(search_seconds(problem.shape[0]), search_memory(problem)),
)

OVER_PERMUTATIONS = replace(METHOD, name="permutation search", theorems=(PERMUTATIONS,), steps=_permutation_steps)
"""The same search where plans have to be permutations: its bound is none of couplings."""
