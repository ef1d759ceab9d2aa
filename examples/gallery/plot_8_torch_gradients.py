"""
Gradients move points
=====================

``value`` of torch input carries the gradient at the plan.  Here forty steps turn a random cloud into something with the
distances of a heart, without ever saying which point belongs where.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import gwfast

t = np.linspace(0, 2 * np.pi, 29)[:-1]
heart = (
    np.c_[
        16 * np.sin(t) ** 3,
        13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t),
    ]
    / 16
)
target = gwfast.PointCloud(torch.tensor(heart), "sqeuclidean")

rng = np.random.default_rng(0)
points = torch.tensor(rng.normal(size=(28, 2)), requires_grad=True)
optimiser = torch.optim.Adam([points], 0.07)
history, snapshots = [], {0: points.detach().clone()}
for step in range(1, 41):
    optimiser.zero_grad()
    result = gwfast.exact_gw(gwfast.PointCloud(points, "sqeuclidean"), target)
    result.value.backward()
    optimiser.step()
    history.append(float(result.value.detach()))
    if step in (8, 40):
        snapshots[step] = points.detach().clone()

print(f"from {history[0]:.4f} to {history[-1]:.6f}")

# %%
# Distances do not see turns and mirror images, so the heart comes out in a position of its own.  The grey line joins
# the points in the order of the heart, as the last plan says it, and colours run along it.

partner = (
    result.plan.permutation.argsort().numpy()
)  # point of the cloud for each point of the heart
loop = np.r_[partner, partner[0]]

figure, axes = plt.subplots(2, 2, figsize=(5.8, 5.6), layout="constrained")
axes = axes.ravel()
for axis, (step, cloud) in zip(axes, snapshots.items()):
    axis.plot(*cloud.numpy()[loop].T, color="0.8", zorder=0)
    axis.scatter(*cloud.numpy().T, c=np.argsort(partner), cmap="viridis", s=24)
    axis.set_title("random start" if step == 0 else f"after {step} steps", fontsize=11)
    axis.set_aspect("equal")
    axis.set_axis_off()
axes[3].semilogy(range(1, len(history) + 1), history, color="#0072B2")
axes[3].set_title("GW to the heart falls", fontsize=11)
axes[3].set_xlabel("step")
axes[3].set_ylabel("squared GW")
axes[3].grid(alpha=0.3)
plt.show()
