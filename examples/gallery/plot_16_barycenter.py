"""
The mean of shapes, with a proof
================================

A barycentre of spaces is a space that is near to all of them on average.  Here it is a mean of three outlines, of which
each has been turned, moved and shuffled; and :func:`gwfast.barycenter` says how much better any other could be.
"""

import matplotlib.pyplot as plt
import numpy as np

import gwfast

N = 24
rng = np.random.default_rng(0)
angle = np.linspace(0, 2 * np.pi, N, endpoint=False)


def outline(radius):
    """Points around the origin, turned and shuffled."""
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    return (x @ turn)[rng.permutation(N)]


shapes = [
    outline(1 + 0.45 * np.cos(5 * angle)),
    outline(1 + 0.35 * np.cos(3 * angle)),
    outline(1.1 + 0.15 * np.cos(4 * angle)),
]
spaces = [gwfast.PointCloud(x, metric="sqeuclidean") for x in shapes]
mean = gwfast.barycenter(spaces, N, effort="prove", time_limit=4)
print(mean)

# %%
# The costs of a barycentre belong to no points in the plane; multidimensional scaling
# finds some whose squared distances are near.

squares = mean.space.cost
centred = (
    squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
)
values, vectors = np.linalg.eigh(-centred / 2)
place = vectors[:, -2:] * np.sqrt(values[-2:])

# %%
# Each point of the mean has one colour; points of the shapes have the colour of their match.

colours = plt.get_cmap("hsv")(np.arctan2(*place.T) / (2 * np.pi) + 0.5)[:, :3]
shades = [np.clip(N * plan.T.apply(colours), 0, 1) for plan in mean.plans]
figure, axes = plt.subplots(1, 4, figsize=(9.6, 3.0), layout="constrained")
for k, (ax, x, shade) in enumerate(
    zip(axes, [*shapes, place], [*shades, colours], strict=True)
):
    ring = x[np.argsort(np.arctan2(*(x - x.mean(axis=0)).T))]
    ax.fill(*ring.T, facecolor="0.93", edgecolor="0.6", zorder=0)
    ax.scatter(*x.T, c=shade, s=36)
    ax.set_title(f"Shape {k + 1}" if k < 3 else "Their mean", fontsize=12)
    ax.set_aspect("equal")
    ax.set_axis_off()
figure.suptitle(
    f"Value {mean.value:.5f}, proved: none has less than {mean.lower:.5f}", fontsize=12
)
plt.show()
