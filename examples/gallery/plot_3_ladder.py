"""
The ladder of bounds
====================

Lower bounds from cheap to dear, on five classes of input: how much of the best value known each proves, and what it
costs.  This is the picture to look at before an ``effort`` is chosen.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np

import gwfast

N = 16
rng = np.random.default_rng(0)


def cloud():
    x = rng.normal(size=(N, 3))
    return np.linalg.norm(x[:, None] - x, axis=2)


def copy_of(C, noise):
    E, order = rng.normal(size=C.shape), rng.permutation(len(C))
    return (C + noise * C.std() * (E + E.T) / 2)[np.ix_(order, order)]


def coactivation():
    H = rng.dirichlet(np.full(N, 0.15), size=4 * N) * np.geomspace(1, 0.1, N)
    H /= H.sum(1, keepdims=True)
    return H.T @ H / len(H)


def graph():
    return nx.to_numpy_array(nx.gnp_random_graph(N, 0.4, seed=int(rng.integers(1000))))


def paths():
    return np.asarray(nx.floyd_warshall_numpy(nx.barabasi_albert_graph(N, 2, seed=int(rng.integers(1000)))))


classes = {
    "noisy copy": lambda: (base := cloud(), copy_of(base, 0.1)),
    "co-activation": lambda: (coactivation(), coactivation()),
    "point clouds": lambda: (cloud(), cloud()),
    "tree-like paths": lambda: (paths(), paths()),
    "random graphs": lambda: (graph(), graph()),
}

# %%
# One call computes all bounds, each with what it cost.  The value that they are compared with is the best plan found.

gwfast.lower_bound(cloud(), cloud(), effort="dual", time_limit=1)  # the first call compiles the kernels
share, seconds = {}, {}
for name, draw in classes.items():
    for _ in range(3):
        C1, C2 = draw()
        best = gwfast.exact_gw(C1, C2).value
        for bound in gwfast.lower_bound(C1, C2, effort="dual", time_limit=0.4).bounds:
            share.setdefault((bound.theorem, name), []).append(max(0.0, bound.value / best))
            seconds.setdefault(bound.theorem, []).append(bound.seconds)
labels = list(seconds)

# %%
# Shares of the best value known (1 means: proved optimal), and times: medians over three instances of 16 points.

figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 6), width_ratios=[3.2, 1], layout="constrained")
table = np.array([[np.median(share.get((label, name), np.nan)) for name in classes] for label in labels])
left.imshow(table, cmap="viridis", vmin=0, vmax=1, aspect="auto")
for i, row in enumerate(table):
    for j, x in enumerate(row):
        left.text(j, i, f"{x:.2f}", ha="center", va="center", color="white" if x < 0.6 else "black")
left.set_xticks(range(len(classes)), list(classes), rotation=20, ha="right")
left.set_yticks(range(len(labels)), labels)
left.set_title("share of the best value proved")
right.barh(range(len(labels)), [1e3 * float(np.median(seconds[label])) for label in labels], color="tab:blue")
right.set_xscale("log")
right.set_ylim(len(labels) - 0.5, -0.5)
right.set_yticks([])
right.set_xlabel("milliseconds")
right.set_title("cost")
right.grid(axis="x", alpha=0.3)
plt.show()
