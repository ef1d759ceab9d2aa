"""What sorting loses: the sorted plan against the exact one, the sorted loss against certified GW, and in fusion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import stats

import gwfast
from benchmarks.bounds import cost, pair
from experiments.bounds_tightness.run import CLASSES
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.records import Record, Row
from experiments.shared.threads import one_thread
from experiments.sorted_approximation.fusion import GRAPHS, errors

RECORD = Record(Path(__file__).parent / "records")
POINTS, SEEDS = 50, 5
SMALL, PAIRS = 20, 40
KINDS = ("cloud", "squared cloud", "sbm", "ba paths", "co-activation")
PIVOTS = ("pivot", "strong")
FUSION_SEEDS = 3
STATED_MINUTES = 0.9


def config() -> Row:
    """What is run."""
    return {
        "plans": {"classes": list(CLASSES), "n": POINTS, "seeds": list(range(SEEDS))},
        "correlation": {"classes": list(KINDS), "n": SMALL, "pairs": PAIRS, "seeds": list(range(SEEDS))},
        "fusion": {"graphs": GRAPHS, "pivots": list(PIVOTS), "seeds": list(range(FUSION_SEEDS))},
    }


def plans(kind: str, seed: int) -> Row:
    """Objective of the sorted plan, and what it proves, over the best plan's."""
    C1, C2 = pair(kind, POINTS, seed)
    ours, exact = gwfast.sorted_gw(C1, C2), gwfast.exact_gw(C1, C2)
    first = next(b for b in ours.certificate.bounds if b.theorem == "first-lower-bound")
    return {
        "plan_ratio": float(ours.value) / float(exact.value),
        "loss_share": max(0.0, float(first.value)) / float(exact.value),
        "proved_share": max(0.0, float(ours.lower)) / float(exact.value),
    }


def correlation(kind: str, seed: int, related: bool) -> Row:
    """Spearman correlation of the sorted loss with both ends of GW over pairs of one class.

    Related pairs are relabelled copies with noise from 1 % to 100 % of the spread of the edges, so that any sensible
    number grows along; unrelated pairs are drawn independently and are the harder question.
    """
    rng = np.random.default_rng(seed)
    losses, lowers, uppers = [], [], []
    for noise in np.geomspace(0.01, 1.0, PAIRS):
        first = cost(kind, SMALL, rng)
        if related:
            E, order = rng.normal(size=first.shape), rng.permutation(SMALL)
            second = (first + noise * first.std() * (E + E.T) / 2)[np.ix_(order, order)]
        else:
            second = cost(kind, SMALL, rng)
        scale = np.square(first).mean()
        bounds = gwfast.lower_bound(first, second, effort="spectral")
        losses.append(float(bounds.bounds[0].value) / scale)
        lowers.append(float(bounds.lower) / scale)
        uppers.append(float(gwfast.exact_gw(first, second).value) / scale)
    return {
        "with_upper": float(stats.spearmanr(losses, uppers).statistic),
        "with_lower": float(stats.spearmanr(losses, lowers).statistic),
        "lower_with_upper": float(stats.spearmanr(lowers, uppers).statistic),
    }


def jobs() -> list[Job]:
    """Plans, correlations, then the fusion loss."""
    found = [
        Job(f"plans {kind} seed {s}", lambda k=kind, s=s: plans(k, s), {"stage": "plans", "kind": kind, "seed": s})
        for s in range(SEEDS)
        for kind in CLASSES
    ]
    for s in range(SEEDS):
        for kind in KINDS:
            for related in (True, False):
                name = "related" if related else "unrelated"
                fields = {"stage": "correlation", "kind": kind, "pairs": name, "seed": s}
                work = lambda k=kind, s=s, r=related: correlation(k, s, r)
                found.append(Job(f"correlation {kind} {name} seed {s}", work, fields))
    for s in range(FUSION_SEEDS):
        for pivot in PIVOTS:
            for graph in GRAPHS:
                fields = {"stage": "fusion", "kind": graph, "pivot": pivot, "seed": s}
                work = lambda g=graph, p=pivot, s=s: errors(g, p, s)
                found.append(Job(f"fusion {graph} {pivot} seed {s}", work, fields))
    return found


def main() -> None:
    """Run what is not in the record yet."""
    RECORD.start(config())
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    one_thread()
    main()
