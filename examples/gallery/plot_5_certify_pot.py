"""
Certify POT's plan
==================

``certify`` takes a plan from anywhere and says how far from the optimum it can be.  Here the plans come from POT, from
fifteen starts: the interval says which are good; the solver itself cannot.
"""

import matplotlib.pyplot as plt
import numpy as np
import ot

import gwfast

rng = np.random.default_rng(2)
x = rng.normal(size=(20, 3)) * [3, 1, 0.3]
y = x[rng.permutation(20)] + 0.15 * rng.normal(size=(20, 3))
C1, C2 = ot.dist(x, x, "euclidean"), ot.dist(y, y, "euclidean")
p = np.full(20, 1 / 20)

# %%
# POT's conditional gradient from the product coupling and from random permutations:

plans = [ot.gromov.gromov_wasserstein(C1, C2, p, p, "square_loss")]
for _ in range(14):
    start = ot.emd(p, p, rng.random((20, 20)))
    plans.append(ot.gromov.gromov_wasserstein(C1, C2, p, p, "square_loss", G0=start))

# %%
# The lower end does not depend on the plan, so one good bound serves all of them.

lower = gwfast.lower_bound(C1, C2, effort="dual", time_limit=3).lower
upper = sorted(
    float(gwfast.certify(C1, C2, plan, effort="sort").upper) for plan in plans
)
ours = gwfast.exact_gw(C1, C2).value
print(f"proved: no plan is below {lower:.5f}")
print(
    f"POT's fifteen plans: {upper[0]:.5f} to {upper[-1]:.5f}; gwfast's plan: {ours:.5f}"
)

# %%

worse = sum(value > 1.01 * ours for value in upper)
figure, axis = plt.subplots(figsize=(5.8, 4.2), layout="constrained")
axis.plot(
    range(1, len(upper) + 1), upper, "o", color="#E69F00", ms=7, label="a plan of POT"
)
axis.axhline(ours, color="#0072B2", lw=2, label="gwfast's plan")
axis.axhline(lower, color="black", ls="--", lw=1.5, label="proved: no plan lies below")
axis.set_title(
    f"{worse} of {len(upper)} starts of POT end over 1 % above gwfast's plan",
    fontsize=11,
)
axis.set_xlabel("start of POT, by the value that it reaches")
axis.set_ylabel("squared GW")
axis.set_yscale("log")
axis.grid(alpha=0.3)
axis.legend(loc="upper left")
plt.show()
