"""
Fused GW: structure against features
====================================

Two ring roads with houses of two colours.  The structure alone cannot tell where the ring begins; colours alone do not
know who is next to whom.  ``alpha`` weighs them.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np

import gwfast

n = 14
ring = nx.cycle_graph(n)
colour = np.where(np.arange(n) < 6, 0.0, 1.0)
second_colour = np.roll(colour, 5)
second_colour[[1, 8]] = 1 - second_colour[[1, 8]]  # some houses were painted anew
M = np.abs(colour[:, None] - second_colour[None, :])
C = gwfast.Graph(ring)

# %%
# From features only to structure only.  Each value comes with its interval.

shares = np.linspace(0.02, 0.98, 7)
results = [
    gwfast.exact_gw(C, C, M=M, alpha=float(a), effort="dual", time_limit=0.7)
    for a in shares
]
for a, result in zip(shares, results):
    plan = result.plan.toarray()
    print(
        f"alpha {a:.2f}: value {result.value:.4f}, at least {result.lower:.4f}", end=""
    )
    print(f", mismatched {np.sum(plan * M):.3f}")

# %%

figure, (upper, lower) = plt.subplots(
    2, 1, figsize=(5.8, 8.0), height_ratios=[1, 1.35], layout="constrained"
)
values, floors = (
    np.array([getattr(r, end) for r in results]) for end in ("value", "lower")
)
upper.errorbar(
    shares,
    values,
    yerr=[values - floors, 0 * values],
    fmt="o-",
    color="#0072B2",
    capsize=4,
    label="value of the plan",
)
upper.plot(shares, floors, "_", color="#D55E00", ms=12, mew=2, label="proved lower end")
upper.set_title("Fused GW by the share of the structure", fontsize=11)
upper.set_xlabel("alpha (0: colours alone, 1: ring alone)")
upper.set_ylabel("fused GW")
upper.set_ylim(0, None)
upper.grid(alpha=0.3)
upper.legend()
place = np.c_[
    np.cos(2 * np.pi * np.arange(n) / n), np.sin(2 * np.pi * np.arange(n) / n)
]
plan = results[3].plan.toarray()
for i, k in zip(*np.nonzero(plan > 0.5 / n)):
    lower.plot(*np.c_[0.6 * place[i], place[k]], color="0.6", zorder=0)
for c, name, shade in (
    (0.0, "blue house", "#0072B2"),
    (1.0, "orange house", "#E69F00"),
):
    points = np.r_[0.6 * place[colour == c], place[second_colour == c]]
    lower.scatter(*points.T, color=shade, edgecolors="black", s=70, label=name)
lower.set_title("The plan at alpha = 0.5: inner ring road to outer one", fontsize=11)
lower.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=2, frameon=False)
lower.set_aspect("equal")
lower.set_axis_off()
plt.show()
