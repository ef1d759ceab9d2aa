"""Variants: values and times against POT in one run, shares of the optimum, violations, entropic accuracy."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import numpy as np
import ot
import torch

import gwfast
from benchmarks import record
from benchmarks.record import median, timed
from gwfast.heuristics.annealing import loss_scale
from gwfast.presolve import presolve

PROBLEMS, LARGE, REPEATS, SMALL, ENTROPIC = 100, (100, 200), 3, 5000, 40
FREE = gwfast.SemiRelaxed()

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]
Plans = Callable[..., np.ndarray]


def cost(rng: np.random.Generator, n: int, kind: str) -> np.ndarray:
    """A cloud in the plane, a random graph, or a random symmetric cost; zeros on the diagonal."""
    if kind == "cloud":
        x = rng.normal(size=(n, 2))
        return np.linalg.norm(x[:, None] - x, axis=2)
    C = rng.random((n, n))
    C = np.triu((C < 0.3).astype(float) if kind == "graph" else C, 1)
    return C + C.T


def draw(rng: np.random.Generator, n: int, m: int, kind: str) -> Problem:
    """Costs, weights, features and a mass."""
    p, q = rng.dirichlet(np.full(n, 3.0)), rng.dirichlet(np.full(m, 3.0))
    return cost(rng, n, kind), cost(rng, m, kind), p, q, rng.random((n, m)), float(rng.uniform(0.3, 0.95))


def objective(C1: np.ndarray, C2: np.ndarray, T: np.ndarray, M: np.ndarray | None = None) -> float:
    """Squared loss of any plan; with features half of each."""
    rows, columns = T.sum(1), T.sum(0)
    value = rows @ C1**2 @ rows + columns @ C2**2 @ columns - 2 * np.sum(T * (C1 @ T @ C2.T))
    return float(value) if M is None else float(0.5 * np.sum(M * T) + 0.5 * value)


# name: our call, POT's plan, and how both are valued
def _kl(C1, C2, p, q, M, s):
    options = {"loss": "kl", "floor": 1e-18}
    theirs = lambda: ot.gromov.gromov_wasserstein(C1, C2, p, q, loss_fun="kl_loss")
    value = lambda T: gwfast.certify(C1, C2, T, p, q, effort="sort", **options).upper
    return lambda: gwfast.exact_gw(C1, C2, p, q, **options).value, theirs, value


def _semi(C1, C2, p, q, M, s):
    theirs = lambda: ot.gromov.semirelaxed_gromov_wasserstein(C1, C2, p)
    return lambda: gwfast.exact_gw(C1, C2, p, marginals=FREE).value, theirs, lambda T: objective(C1, C2, T)


def _semi_fused(C1, C2, p, q, M, s):
    theirs = lambda: ot.gromov.semirelaxed_fused_gromov_wasserstein(M, C1, C2, p, alpha=0.5)
    ours = lambda: gwfast.exact_gw(C1, C2, p, M=M, alpha=0.5, marginals=FREE).value
    return ours, theirs, lambda T: objective(C1, C2, T, M)


def _partial(C1, C2, p, q, M, s):
    theirs = lambda: ot.gromov.partial_gromov_wasserstein(C1, C2, p, q, m=s)
    ours = lambda: gwfast.exact_gw(C1, C2, p, q, marginals=gwfast.Partial(s)).value
    return ours, theirs, lambda T: objective(C1, C2, T)


def _partial_fused(C1, C2, p, q, M, s):
    theirs = lambda: ot.gromov.partial_fused_gromov_wasserstein(M, C1, C2, p, q, m=s, alpha=0.5)
    ours = lambda: gwfast.exact_gw(C1, C2, p, q, M=M, alpha=0.5, marginals=gwfast.Partial(s)).value
    return ours, theirs, lambda T: objective(C1, C2, T, M)


def _unbalanced(C1, C2, p, q, M, s):
    rho = s * objective(C1, C2, p[:, None] * q)
    marginals = gwfast.Unbalanced(rho)

    def theirs():
        options = {"reg_marginals": rho, "epsilon": 0, "divergence": "kl", "unbalanced_solver": "mm"}
        return ot.gromov.fused_unbalanced_gromov_wasserstein(C1, C2, p, q, **options)[0]

    def value(T):
        return gwfast.certify(C1, C2, T, p, q, marginals=marginals, effort="sort").upper

    return lambda: gwfast.exact_gw(C1, C2, p, q, marginals=marginals).value, theirs, value


VARIANTS = {
    "kl": _kl,
    "semi": _semi,
    "semi fused": _semi_fused,
    "partial": _partial,
    "partial fused": _partial_fused,
    "unbalanced": _unbalanced,
}


def _values() -> list[dict]:
    """Our value over POT's on random problems of 8 to 24 points."""
    rows = []
    for name, make in VARIANTS.items():
        rng, ratios = np.random.default_rng(0), []
        for k in range(PROBLEMS):
            n, m = (int(x) for x in rng.integers(8, 25, 2))
            ours, theirs, value = make(*draw(rng, n, m, ("cloud", "graph", "random")[k % 3]))
            a, b = ours(), value(theirs())
            ratios.append(1.0 if a <= b + 1e-12 and b <= 1e-9 else a / max(b, 1e-9))
        row = {"part": "values", "variant": name, "problems": PROBLEMS, "mean": float(np.mean(ratios))}
        rows.append(row | {"worst": max(ratios), "above_1.02": sum(r > 1.02 for r in ratios)})
        print(rows[-1], flush=True)
    return rows


def _times() -> list[dict]:
    """Our time over POT's, best of some repeats each, on one cloud and one graph."""
    rows = []
    for name, make in VARIANTS.items():
        for n in LARGE:
            rng, found = np.random.default_rng(n), []
            for kind in ("cloud", "graph"):
                ours, theirs, value = make(*draw(rng, n, n, kind))
                a = min((timed(ours) for _ in range(REPEATS)), key=lambda run: run[0])
                b = min((timed(theirs) for _ in range(REPEATS)), key=lambda run: run[0])
                found.append((a[0], b[0], float(a[1]) / max(value(b[1]), 1e-12)))  # pyright: ignore[reportArgumentType]
            row = {"part": "times", "variant": name, "n": n, "gwfast": median([f[0] for f in found])}
            row |= {"pot": median([f[1] for f in found]), "ratio": median([f[0] / f[1] for f in found])}
            rows.append(row | {"value_ratio": float(np.mean([f[2] for f in found]))})
            print(rows[-1], flush=True)
    return rows


def _labels(n: int, m: int) -> np.ndarray:
    return np.array(list(itertools.product(range(m), repeat=n)))


def _best_labels(C1: np.ndarray, C2: np.ndarray, p: np.ndarray, labels: np.ndarray) -> float:
    gap = C1 - C2[labels[:, :, None], labels[:, None, :]]
    return float(np.einsum("sij,i,j->s", gap * gap, p, p).min())


def _bounds() -> list[dict]:
    """Shares of the best vertex, by class; problems that the search closes."""
    rows = []
    for kind in ("cloud", "random", "graph"):
        rng, shares, dual, closed = np.random.default_rng(1), [], [], 0
        for _ in range(30):
            n, m = int(rng.integers(4, 7)), int(rng.integers(3, 7))
            C1, C2, p, *_ = draw(rng, n, m, kind)
            best = _best_labels(C1, C2, p, _labels(n, m))
            result = gwfast.exact_gw(C1, C2, p, marginals=FREE, rtol=1e-6, time_limit=5)
            closed += result.gap <= 1e-6
            if best > 1e-9:
                proved = gwfast.lower_bound(C1, C2, p, marginals=FREE, effort="dual", time_limit=2)
                values = {bound.theorem: bound.value for bound in proved.bounds}
                shares.append(values["semi-relaxed-rows"] / best)
                dual.append(values.get("semi-relaxed-dual", proved.lower) / best)  # none where the rows close it
        row = {"part": "semi-relaxed bounds", "kind": kind, "problems": 30, "closed": closed}
        rows.append(row | {"rows": float(np.mean(shares or [1.0])), "dual": float(np.mean(dual or [1.0]))})
        print(rows[-1], flush=True)
    for kind, n, share in itertools.product(("cloud", "random", "graph"), (4, 6), (0.5, 1.0)):
        rng, shares = np.random.default_rng(2), []
        for _ in range(15):
            C1, C2 = cost(rng, n, kind), cost(rng, n, kind)
            result = gwfast.exact_gw(C1, C2, marginals=gwfast.Partial(share), effort="dual")
            shares.append(result.lower / result.value if result.value > 1e-9 else 1.0)
        row = {"part": "partial bounds over our value", "kind": kind, "n": n, "mass": share}
        rows.append(row | {"mean": float(np.mean(shares))})
        print(rows[-1], flush=True)
    return rows


def _best_descent(C1, C2, p, q, marginals) -> float:
    """The least value of the solver's descents, from 16 and more starts: vertices, annealed runs, the product."""
    return gwfast.exact_gw(C1, C2, p, q, marginals=marginals, effort="sort").upper


def _violations() -> list[dict]:
    """Bounds above the best plan known, with no tolerance."""
    rng, tables = np.random.default_rng(3), {(n, m): _labels(n, m) for n in (2, 3, 4) for m in (2, 3)}
    found = {"semi": 0, "partial": 0, "unbalanced": 0, "kl": 0}
    orders = {n: np.array(list(itertools.permutations(range(n)))) for n in (2, 3, 4)}
    for k in range(SMALL):
        kind, n, m = ("cloud", "graph", "random")[k % 3], int(rng.integers(2, 5)), int(rng.integers(2, 4))
        C1, C2, p, q, _, s = draw(rng, n, m, kind)
        best = _best_labels(C1, C2, p, tables[n, m])
        found["semi"] += gwfast.lower_bound(C1, C2, p, marginals=FREE).lower > best
        part = gwfast.Partial(s)
        least = _best_descent(C1, C2, p, q, part)
        found["partial"] += gwfast.lower_bound(C1, C2, p, q, marginals=part, effort="dual").lower > least
        if k % 5 == 0:
            free = gwfast.Unbalanced(float(10 ** rng.uniform(-2, 2)))
            found["unbalanced"] += gwfast.lower_bound(C1, C2, p, q, marginals=free).lower > _best_descent(
                C1, C2, p, q, free
            )
        A, B = C1 + 0.01, cost(rng, n, kind) + 0.01
        copies = B[orders[n][:, :, None], orders[n][:, None, :]]
        least = float((A * np.log(A / copies) - A + copies).mean(axis=(1, 2)).min())
        found["kl"] += gwfast.lower_bound(A, B, loss="kl").lower > least
    count = {name: SMALL // 5 if name == "unbalanced" else SMALL for name in found}
    rows = [{"part": "violations", "variant": k, "problems": count[k], "found": int(v)} for k, v in found.items()]
    print(rows, flush=True)
    return rows


def _entropic() -> list[dict]:
    """Convergence, and the agreement of numpy and torch, at small shares of the product loss."""
    rows = []
    for solver, shares in (("PGD", (0.01, 0.005)), ("PPA", (0.05,))):
        for share in shares:
            rng, met, apart = np.random.default_rng(4), 0, []
            count = ENTROPIC if solver == "PGD" else 10
            for k in range(count):
                n, m = ((10, 10), (20, 15), (30, 30), (40, 30))[k % 4]
                C1, C2, *_ = draw(rng, n, m, ("cloud", "graph")[k // 4 % 2])
                epsilon = share * loss_scale(presolve(gwfast.Problem.of(C1, C2)).problem)
                options = {"epsilon": epsilon, "solver": solver}
                a = gwfast.entropic_gw(C1, C2, **options)
                b = gwfast.entropic_gw(torch.tensor(C1), torch.tensor(C2), **options)
                met += a.stop is gwfast.Stop.MARGINALS and b.stop is gwfast.Stop.MARGINALS
                apart.append(abs(a.value - float(b.value)) / a.value)
            row = {"part": "entropic", "solver": solver, "share": share, "problems": count, "converged": met}
            rows.append(row | {"worst_difference": max(apart), "above_1e-6": sum(d > 1e-6 for d in apart)})
            print(rows[-1], flush=True)
    return rows


def run() -> None:
    """Measure and write the record."""
    warnings.filterwarnings("ignore")  # the peers warn about their own limits
    rows = []
    for part in (_values, _times, _bounds, _violations, _entropic):
        rows += part()
        config = {"problems": PROBLEMS, "large": LARGE, "repeats": REPEATS, "small": SMALL, "entropic": ENTROPIC}
        record.write("variants", config, rows)
