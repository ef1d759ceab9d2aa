"""
Fused GW: structure against features
====================================

Two ring roads with houses of two colours.  The structure alone cannot tell where the ring begins; colours alone cannot
tell neighbours apart.  ``alpha`` weighs them.
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
results = [gwfast.exact_gw(C, C, M=M, alpha=float(a), effort="dual", time_limit=0.7) for a in shares]
for a, result in zip(shares, results):
    plan = result.plan.toarray()
    print(f"alpha {a:.2f}: value {result.value:.4f}, at least {result.lower:.4f}, mismatched {np.sum(plan * M):.3f}")

# %%

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
left.fill_between(shares, [r.lower for r in results], [r.value for r in results], alpha=0.3, label="certified interval")
left.plot(shares, [r.value for r in results], "o-", label="value")
left.set_xlabel("alpha: share of the structure")
left.set_ylabel("fused GW")
left.legend()
place = np.c_[np.cos(2 * np.pi * np.arange(n) / n), np.sin(2 * np.pi * np.arange(n) / n)]
plan = results[3].plan.toarray()
for i, k in zip(*np.nonzero(plan > 0.5 / n)):
    right.plot(*np.c_[0.6 * place[i], place[k]], color="0.75", zorder=0)
right.scatter(*(0.6 * place).T, c=colour, cmap="coolwarm", edgecolors="black", s=60)
right.scatter(*place.T, c=second_colour, cmap="coolwarm", edgecolors="black", s=60)
right.set_title("plan at alpha = 0.5: inner ring to outer ring")
right.set_aspect("equal")
right.set_axis_off()
plt.show()
