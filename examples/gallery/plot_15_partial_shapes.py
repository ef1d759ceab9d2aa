"""
Partial plans: a shape in a scene
=================================

A shape is seen again, turned, among points that belong to nothing.  A balanced plan must send some mass to those
points; a partial one carries only as much as there is of the shape.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.distance import cdist

import gwfast

rng = np.random.default_rng(0)
t = np.linspace(0, 1.6 * np.pi, 24)
shape = np.stack([(1 + 0.35 * t) * np.cos(t), (1 + 0.35 * t) * np.sin(t)], axis=1)
c, s = np.cos(2.1), np.sin(2.1)
seen = shape @ np.array([[c, s], [-s, c]]) + 0.02 * rng.normal(size=shape.shape)
clutter = rng.uniform(-6, 6, size=(12, 2)) + np.array([9.0, 0.0])
scene = np.concatenate([seen, clutter])
C1, C2 = cdist(shape, shape), cdist(scene, scene)

# %%
# Each point of the scene weighs 1/36; the shape weighs as much as its copy, 24/36.

share = len(shape) / len(scene)
part = gwfast.exact_gw(C1, C2, marginals=gwfast.Partial(mass=share), effort="rows")
whole = gwfast.exact_gw(C1, C2)
print(part)
on_clutter = {}
for name, result in (("partial", part), ("balanced", whole)):
    plan = result.plan.toarray()
    on_clutter[name] = plan[:, len(shape) :].sum() / plan.sum()
    print(f"{name}: {100 * on_clutter[name]:.0f} % of the mass goes to clutter")

# %%

figure, axes = plt.subplots(2, 1, figsize=(6.2, 7.4), layout="constrained")
for ax, (name, result) in zip(axes, (("partial", part), ("balanced", whole))):
    plan = result.plan.toarray()
    left = shape - np.array([12.0, 0.0])
    for i, k in zip(*np.nonzero(plan > 0.2 * plan.max())):
        ax.plot(*zip(left[i], scene[k]), color="#56B4E9", lw=0.8, zorder=1)
    ax.scatter(*left.T, c="#0072B2", s=18, zorder=2)
    ax.scatter(*seen.T, c="#D55E00", s=18, zorder=2)
    ax.scatter(*clutter.T, c="#999999", s=18, zorder=2)
    ax.set_title(f"{name} plan: {100 * on_clutter[name]:.0f} % to clutter", fontsize=11)
    ax.set_aspect("equal")
    ax.axis("off")
plt.show()
