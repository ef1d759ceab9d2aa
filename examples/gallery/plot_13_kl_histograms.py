"""
KL loss: tables of counts
=========================

Who trades with whom, who co-occurs with whom: such tables hold counts, whose noise grows with their size.  The
Kullback-Leibler loss compares counts by their ratio, the square by their difference.
"""

import matplotlib.pyplot as plt
import numpy as np

import gwfast

rng = np.random.default_rng(0)
n, pairs = 16, 15
group = np.arange(n) % 2
right = {"kl": [], "square": []}

# %%
# Fifteen pairs of tables.  Both of a pair have Poisson counts of the same rates, in another order; one is added to
# every count.  Each loss matches the same tables, with a proved interval.

for _ in range(pairs):
    size = np.sort(rng.gamma(0.6, size=n))[::-1] + 0.05
    same = group[:, None] == group
    rate = 20 * np.outer(size, size) * np.where(same, 1.6, 0.4)
    order = rng.permutation(n)
    counts = np.triu(rng.poisson(rate, (2, n, n)))
    first, second = (C + np.triu(C, 1).T + 1.0 for C in counts)
    second = second[np.ix_(order, order)]
    truth = np.argsort(order)
    results = {loss: gwfast.exact_gw(first, second, loss=loss) for loss in right}
    for loss, result in results.items():
        right[loss].append(result.plan.toarray()[np.arange(n), truth].sum())
for loss, result in results.items():
    print(f"{loss:6}: value {result.value:.4g}, at least {result.lower:.4g}", end="")
    print(f"; {100 * np.mean(right[loss]):.0f} % of the mass is right on average")

# %%
# The last pair, and the share of the mass at its right place for all of them: the difference between the losses is
# small beside that between tables.

figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.6), layout="constrained")
for ax, counts, title in zip(axes[0], (first, second), ("first table", "second table")):
    ax.imshow(np.log(counts), cmap="viridis")
    ax.set_title(title + " (log of counts)", fontsize=10)
axes[1, 0].imshow(results["kl"].plan.toarray()[:, truth], cmap="Blues")
axes[1, 0].set_title("plan under KL, in the right order", fontsize=10)
for ax in (*axes[0], axes[1, 0]):
    ax.set_xticks([])
    ax.set_yticks([])
axes[1, 1].plot([0, 1], [0, 1], color="#999999", lw=0.8)
axes[1, 1].plot(right["square"], right["kl"], "o", color="#0072B2", alpha=0.7)
axes[1, 1].set_xlabel("right under the square")
axes[1, 1].set_ylabel("right under KL")
axes[1, 1].set_aspect("equal")
plt.show()
