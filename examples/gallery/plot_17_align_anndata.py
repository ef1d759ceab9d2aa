"""
Two slices in AnnData that overlap in part
==========================================

Two sections of one tissue, each with a fifth that the other has not; the second one lies turned and moved on its slide.
:func:`gwfast.interop.anndata.align` matches spots by places and genes, writes the matching into both objects and proves
an interval.
"""

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from gwfast.interop.anndata import align

N, GENES, UNIT = 3000, 60, 1000.0  # micrometres
rng = np.random.default_rng(1)
profiles = rng.gamma(0.7, 2.0, size=(7, GENES))


def domains(place):
    """Five layers that bend around one side, and two islands."""
    layer = np.clip(5 * np.hypot(place[:, 0] + 1.3, place[:, 1]) / 2.4, 0, 4.99)
    kind = layer.astype(int)
    for k, centre in enumerate(([0.1, 0.55], [0.4, -0.4])):
        kind[np.hypot(*(place - centre).T) < 0.2] = 5 + k
    return kind


def section(name, keep):
    """Spots of a part of the tissue with counts of genes."""
    place = rng.uniform(-1, 1, size=(4 * N, 2))
    place = place[(np.hypot(*place.T) < 1) & keep(place[:, 0])][:N]
    counts = rng.poisson(profiles[domains(place)])
    made = anndata.AnnData(
        np.log1p(counts),
        obs=pd.DataFrame(index=[f"{name}{k}" for k in range(N)]),
        var=pd.DataFrame(index=[f"gene{k}" for k in range(GENES)]),
    )
    made.obsm["tissue"] = place
    return made


first = section("a", lambda x: x < 0.45)
second = section("b", lambda x: x > -0.45)
turn = np.array([[np.cos(2.2), -np.sin(2.2)], [np.sin(2.2), np.cos(2.2)]])
first.obsm["spatial"] = UNIT * first.obsm["tissue"]
second.obsm["spatial"] = UNIT * (second.obsm["tissue"] @ turn.T + [2.0, 1.0])

# %%
# ``alpha="sweep"`` matches some spots with more and more weight on places, and takes the largest weight at which the
# genes of matched spots differ by at most twice the least.

found = align(first, second, features="X", alpha="sweep", overlap=0.66)
print(found)
for tried in found.sweep:
    mark = "  <- taken" if tried.alpha == found.alpha else ""
    print(
        f"alpha {tried.alpha:.2f}: genes {tried.features:.3f}, places {tried.structure:.3f}{mark}"
    )

# %%
# Errors in micrometres: where the partners of a spot are in the tissue, beside the spot itself.

held = first.obs["gwfast_match"].notna().to_numpy()
partner = second.obsm["tissue"][found.matches[held]]
error = UNIT * np.hypot(*(partner - first.obsm["tissue"][held]).T)
shared = first.obsm["tissue"][:, 0] > -0.45
print(
    f"{held.sum()} of {N} spots matched; {100 * shared[held].mean():.0f} % of them are in both"
)
print(
    f"error: median {np.median(error):.0f} um, 90 % below {np.quantile(error, 0.9):.0f} um"
)
print(f"spots are {UNIT * np.sqrt(2.4 / N):.0f} um apart")

# %%
# Each matched spot of the first slice has the colour of its place, its partner the same; the others are grey.


def shades(place):
    """A colour for each place."""
    x = (place - place.min(axis=0)) / np.ptp(place, axis=0)
    return np.stack([x[:, 0], 0.35 + 0 * x[:, 0], x[:, 1]], axis=1)


grey = np.full((N, 3), 0.85)
left, right = grey.copy(), grey.copy()
left[held] = shades(first.obsm["tissue"])[held]
back = second.obs["gwfast_match"]
taken = back.notna().to_numpy()
right[taken] = shades(first.obsm["tissue"])[first.obs_names.get_indexer(back[taken])]
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.9), layout="constrained")
for ax, own, shade, name in zip(
    axes, (first, second), (left, right), ("First slice", "Second slice")
):
    ax.scatter(*own.obsm["spatial"].T, c=shade, s=5)
    ax.set_title(name, fontsize=12)
    ax.set_aspect("equal")
    ax.set_axis_off()
figure.suptitle(
    f"Median error {np.median(error):.0f} um; grey spots have no partner", fontsize=12
)
plt.show()
