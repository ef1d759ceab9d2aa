"""Three hundred problems of all kinds, with the values and bounds that were recorded before the house was rebuilt.

``python tests/gwfast_regression.py`` writes the record anew; only a change that is meant to lose something does that.
"""

import json
from pathlib import Path

import numpy as np

import gwfast
from gwfast import Graph, PointCloud

RECORD = Path(__file__).parent / "gwfast" / "records" / "regression.json"
COUNT, PROVED = 300, 60
KINDS = ("normal", "cloud", "graph", "gram", "ties", "low-rank", "scaled")
NO_LIMIT = 1e6


def problem(seed):
    """Arguments of a front door: (C1, C2, p, q, M, alpha)."""
    from strategies import cost, weights

    rng = np.random.default_rng(seed)
    largest = 4 if seed < PROVED else 12
    n = int(rng.integers(1, largest + 1))
    m = n if rng.random() < 0.5 else int(rng.integers(1, largest + 1))
    symmetric, kind = rng.random() < 0.7, KINDS[seed % len(KINDS)]
    if seed % 10 == 9:
        first, second = (PointCloud(rng.normal(size=(k, 2)), "sqeuclidean") for k in (n, m))
    elif seed % 25 == 8:
        first, second = Graph(np.eye(n, k=1) + np.eye(n, k=-1)), Graph(np.ones((m, m)) - np.eye(m))
    else:
        first, second = cost(rng, n, kind, symmetric), cost(rng, m, kind, symmetric)
        if kind == "scaled":
            second = second * (np.abs(first).max() + 1e-30) / (np.abs(second).max() + 1e-30)
    spread = ("uniform", "spread", "decades")[int(rng.integers(3))]
    p, q = weights(rng, n, spread), weights(rng, m, spread)
    if rng.random() < 0.7:
        return first, second, p, q, None, None
    size = float(np.abs(np.asarray(first)).max()) ** 2 if isinstance(first, np.ndarray) else 1.0
    return first, second, p, q, rng.normal(size=(n, m)) * size, float(rng.choice([0.0, 0.3, 1.0]))


def scale(arguments):
    """What rounding is measured in."""
    C1, C2, _, _, M, _ = arguments
    costs = [C if isinstance(C, np.ndarray) else np.asarray(C.dense()) for C in (C1, C2)]
    return float(sum(np.abs(C).max() ** 2 for C in costs)) + (0.0 if M is None else float(np.abs(M).max()))


def deep(arguments, value):
    """Bounds of the deep methods after a fixed number of steps, by theorem; `value` is that of a plan."""
    from gwfast.bounds.doubly_nonnegative import cone_bound
    from gwfast.bounds.quadratic import quadratic_bound
    from gwfast.bounds.rlt1 import reformulation_bound
    from gwfast.bounds.split import split_bounds
    from gwfast.budget import Budget
    from gwfast.presolve import presolve
    from gwfast.problem import Problem
    from gwfast.searches.branch_and_bound import permutation_search
    from gwfast.searches.coupling_search import CouplingSearch
    from gwfast.searches.low_dimension import low_dimension_search

    request = presolve(Problem.of(*arguments[:4], M=arguments[4], alpha=arguments[5]))
    task = request.problem
    upper = value / request.unit  # the aim of their steps
    bounds = [quadratic_bound(task, 20)[0], *split_bounds(task, upper, 20, 10)]
    bounds.append(reformulation_bound(task, upper, sweeps=60).bound)
    bounds.append(cone_bound(task, upper, steps=20).bound)
    if (result := permutation_search(task)) is not None:
        bounds += [result.coupling_bound]
    if (result := low_dimension_search(task, None, 1e-2, Budget().within(5.0))) is not None:
        bounds.append(result.bound)
    search = CouplingSearch(task)
    search.run(upper, 1e-2, parts=5)
    bounds.append(search.bound)
    best = {}
    for bound in bounds:
        best[bound.theorem] = max(best.get(bound.theorem, -np.inf), bound.value * request.unit)
    return best


def answers(seed, value=None):
    """Values and bounds of one problem, by call and name; the deep methods know a plan of this value, or their own."""
    C1, C2, p, q, M, alpha = arguments = problem(seed)
    given = {"p": p, "q": q, "M": M, "alpha": alpha}
    found = {}
    result = gwfast.sorted_gw(C1, C2, **given)
    found["sorted"] = {"value": result.value} | {b.theorem: b.value for b in result.certificate.bounds}
    result = gwfast.exact_gw(C1, C2, **given, effort="spectral", time_limit=NO_LIMIT)
    found["exact"] = {"value": result.value} | {b.theorem: b.value for b in result.certificate.bounds}
    if seed < PROVED:
        found["deep"] = deep(arguments, result.upper if value is None else value)
    return found


if __name__ == "__main__":
    RECORD.write_text("[\n" + ",\n".join(json.dumps(answers(seed)) for seed in range(COUNT)) + "\n]\n")
