"""
Align two slices of a tissue
============================

Spatial transcriptomics measures genes at thousands of spots of a slice.  Two neighbouring slices lie turned on their
slides and have other spots.  Fused GW matches spots that express alike and keep their distances to the others: squared
distances of places, and features as factors (:class:`gwfast.FeatureCost`), so that no 3000 x 2500 array is needed.
"""

import matplotlib.pyplot as plt
import numpy as np

import gwfast

N, M, GENES, ALPHA = 3000, 2500, 60, 0.9
rng = np.random.default_rng(2)


def spots(count):
    """Places inside a round section: its outline tells no direction."""
    place = rng.uniform(-1, 1, size=(2 * count, 2))
    return place[np.hypot(*place.T) < 1][:count]


def domains(place):
    """Five layers that bend around one side, and two islands."""
    layer = np.clip(5 * np.hypot(place[:, 0] + 1.3, place[:, 1]) / 2.4, 0, 4.99)
    kind = layer.astype(int)
    for k, centre in enumerate(([0.1, 0.55], [0.4, -0.4])):
        kind[np.hypot(*(place - centre).T) < 0.2] = 5 + k
    return kind


def genes(place, profiles):
    """Counts: a profile for each domain, drawn with noise."""
    return np.log1p(rng.poisson(profiles[domains(place)]))


profiles = rng.gamma(0.7, 2.0, size=(7, GENES))
first, second = spots(N), spots(M)
counts = np.vstack([genes(first, profiles), genes(second, profiles)])
turn = np.array([[np.cos(2.2), -np.sin(2.2)], [np.sin(2.2), np.cos(2.2)]])
slide = second @ turn.T  # what the second slide shows

# %%
# Ten principal components of the genes are the features.  Places and features are brought to one scale, so that
# ``alpha`` = 0.9 says how much more a place tells than the genes of one spot.

counts -= counts.mean(axis=0)
axes = np.linalg.svd(counts, full_matrices=False)[2][:10]
scores = counts @ axes.T
scores /= np.sqrt(2 * scores.var(axis=0).sum())  # two spots differ by 1 on average


def space(place):
    """Squared distances whose squares are 1 on average."""
    centred = place - place.mean(axis=0)
    squares = (centred**2).sum(axis=1)
    mean_square = 2 * (squares**2).mean() + 2 * squares.mean() ** 2
    mean_square += 4 * ((centred.T @ centred / len(place)) ** 2).sum()
    return gwfast.PointCloud(centred / mean_square**0.25, metric="sqeuclidean")


cost = gwfast.FeatureCost(scores[:N], scores[N:])
x, y = space(first), space(slide)
fused = gwfast.exact_gw(x, y, M=cost, alpha=ALPHA)
results = {
    "genes, hardly places": gwfast.exact_gw(x, y, M=cost, alpha=0.02),
    "places alone": gwfast.exact_gw(x, y),
    "both": fused,
}
print(fused)

# %%
# Errors are in units of the distance between neighbouring spots.

spacing = np.sqrt(np.pi / N)  # a disc of radius 1


def image(plan):
    """Where the plan sends each spot of the first slice, in the first slice's frame."""
    return N * plan.apply(second)


for name, result in results.items():
    error = np.hypot(*(image(result.plan) - first).T) / spacing
    print(
        f"{name}: median error {np.median(error):.1f} spacings, 90 % below {np.quantile(error, 0.9):.1f}"
    )

# %%
# Both slices with one colour for each place of the first one; the second one has the colours of its matches.

colour = np.c_[first - first.min(axis=0), 0 * first[:, 0]] / np.ptp(first, axis=0).max()
colour = np.c_[colour[:, 0], 0.35 + 0 * colour[:, 0], colour[:, 1]].clip(0, 1)
received = M * fused.plan.T.apply(colour)

figure, panels = plt.subplots(2, 2, figsize=(7.2, 7.2), layout="constrained")
palette = plt.get_cmap("tab10")
for row, (shades, what) in enumerate(
    (((domains(first), domains(second)), "domains"), ((colour, received), "the match"))
):
    for axis, place, shade, name in zip(
        panels[row], (first, slide), shades, ("First", "Second")
    ):
        if row == 0:
            shade = palette(shade)
        axis.scatter(*place.T, c=np.clip(shade, 0, 1), s=5)
        axis.set_title(f"{name} slice: {what}", fontsize=12)
        axis.set_aspect("equal")
        axis.set_axis_off()
plt.show()
