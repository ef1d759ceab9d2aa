"""
A point cloud and its noisy copy
================================

The same shape, turned, shuffled and shaken.  Distances between points do not see the turn; GW finds the shuffle, and
proves that no plan is better by more than one per cent.
"""

import matplotlib.pyplot as plt
import numpy as np

import gwfast
from gwfast.plot import plot_matching

rng = np.random.default_rng(1)
t = np.linspace(0, 4 * np.pi, 40)
shape = np.c_[t * np.cos(t), 1.4 * t * np.sin(t)] / 10
turn = np.array([[0.6, -0.8], [0.8, 0.6]])
order = rng.permutation(len(shape))
copy = (shape @ turn)[order] + 0.01 * rng.normal(size=shape.shape)

first, second = gwfast.PointCloud(shape), gwfast.PointCloud(copy)
result = gwfast.exact_gw(first, second, rtol=0.01, time_limit=8)
print(result)

# %%
# Every point found its place:

right = int(np.sum(order[result.plan.permutation] == np.arange(len(shape))))
print(f"{right} of {len(shape)} points matched with their copy")

# %%

plot_matching(result, first, second, names=("spiral", "noisy copy"))
plt.show()
