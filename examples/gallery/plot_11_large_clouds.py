"""
Match 100,000 points
====================

Two scans of a snail's shell, the second one turned, with points of its own.  Squared distances of points need no
matrix: the search goes from block means to single points.  The time is printed below; more of them
are in :doc:`/large`.
"""

import matplotlib.pyplot as plt
import numpy as np

import gwfast

N = 100_000
rng = np.random.default_rng(0)


def shell(count):
    """Points of a tube that winds two and a half times and widens."""
    s = np.sqrt(rng.uniform(0.01, 1, count))
    turns, around = 5 * np.pi * s, rng.uniform(0, 2 * np.pi, count)
    width = 0.42 * s
    radius = s + width * np.cos(around)
    height = -1.6 * s + width * np.sin(around)
    return np.c_[radius * np.cos(turns), radius * np.sin(turns), height]


first, second = shell(N), shell(N)
turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
turn *= np.sign(np.linalg.det(turn))  # a rotation, no mirror image
scan = second @ turn

# %%
# The plan is a permutation, its value is exact, and no array of n x n numbers was there.

x, y = (gwfast.PointCloud(z, metric="sqeuclidean") for z in (first, scan))
result = gwfast.exact_gw(x, y)
print(result)
target = result.plan.permutation
error = np.linalg.norm(second[target] - first, axis=1)
size = np.linalg.norm(first - first.mean(axis=0), axis=1).max()
print(f"matched places differ by {100 * np.median(error) / size:.1f} % of the radius")

# %%
# Colours are those of places in the first scan; the second scan has the colours of its matches.

colour = (first - first.min(axis=0)) / np.ptp(first, axis=0)
received = np.empty_like(colour)
received[target] = colour

figure, panels = plt.subplots(2, 1, figsize=(5.4, 8.6), layout="constrained")
for axis, points, shade, name in (
    (panels[0], first, colour, "First scan: coloured by place"),
    (panels[1], scan, received, "Second scan, turned: coloured by the match"),
):
    depth = np.argsort(-points[:, 1])  # near points are drawn last
    axis.scatter(points[depth, 0], points[depth, 2], c=shade[depth], s=2)
    axis.set_title(name, fontsize=12)
    axis.set_aspect("equal")
    axis.set_axis_off()
plt.show()
