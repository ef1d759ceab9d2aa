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
    return np.asarray(
        nx.floyd_warshall_numpy(
            nx.barabasi_albert_graph(N, 2, seed=int(rng.integers(1000)))
        )
    )


classes = {
    "noisy copy": lambda: (base := cloud(), copy_of(base, 0.1)),
    "co-activation": lambda: (coactivation(), coactivation()),
    "point clouds": lambda: (cloud(), cloud()),
    "tree-like paths": lambda: (paths(), paths()),
    "random graphs": lambda: (graph(), graph()),
}

# %%
# One call computes all bounds, each with what it cost.  The value that they are compared with is the best plan found.

gwfast.lower_bound(
    cloud(), cloud(), effort="dual", time_limit=1
)  # the first call compiles the kernels
share, seconds = {}, {}
for name, draw in classes.items():
    for _ in range(3):
        C1, C2 = draw()
        best = gwfast.exact_gw(C1, C2).value
        for bound in gwfast.lower_bound(C1, C2, effort="dual", time_limit=0.35).bounds:
            share.setdefault((bound.theorem, name), []).append(bound.value / best)
            seconds.setdefault(bound.theorem, []).append(bound.seconds)
labels = list(seconds)

# %%
# Medians over three instances of 16 points; 1.00 means that the best plan is proved optimal.  A bound that was not
# reached within the time, or that proves nothing above 0, has no colour.

table = np.array(
    [
        [np.median(share.get((label, name), np.nan)) for name in classes]
        for label in labels
    ]
)
table[table <= 0] = np.nan
figure, axis = plt.subplots(figsize=(5.8, 6.4), layout="constrained")
axis.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
for i, row in enumerate(table):
    for j, x in enumerate(row):
        text = "–" if np.isnan(x) else f"{x:.2f}"
        axis.text(
            j,
            i,
            text,
            ha="center",
            va="center",
            color="white" if x < 0.5 else "black",
            fontsize=10,
        )
    milliseconds = 1e3 * float(np.median(seconds[labels[i]]))
    axis.text(
        len(classes) - 0.4,
        i,
        f"{milliseconds:.0f} ms" if milliseconds > 10 else f"{milliseconds:.2g} ms",
        va="center",
        fontsize=9.5,
    )
axis.set_xticks(
    range(len(classes)),
    [name.replace(" ", "\n").replace("-", "-\n") for name in classes],
    fontsize=9.5,
)
axis.set_yticks(range(len(labels)), labels, fontsize=9.5)
axis.set_title(
    "Share of the best value that each bound proves,\nand the time that it takes",
    fontsize=11,
)
plt.show()
