"""Align two large slices: 20,000 and 18,000 spots with genes, from AnnData to a matching, an interval and a picture.

    python examples/align_slices.py [--spots N M] [--overlap SHARE] [--alpha ALPHA] [--picture FILE]

The slices are made here; `anndata.read_h5ad` reads yours, with places in ``obsm["spatial"]``.
"""

from __future__ import annotations

import argparse
import time

import anndata
import numpy as np
import pandas as pd

from gwfast.interop.anndata import align

GENES, UNIT = 200, 1000.0  # micrometres


def domains(place: np.ndarray) -> np.ndarray:
    """Five layers that bend around one side, and two islands."""
    layer = np.clip(5 * np.hypot(place[:, 0] + 1.3, place[:, 1]) / 2.4, 0, 4.99)
    kind = layer.astype(int)
    for k, centre in enumerate(([0.1, 0.55], [0.4, -0.4])):
        kind[np.hypot(*(place - centre).T) < 0.2] = 5 + k
    return kind


def section(name: str, spots: int, cut: float, rng: np.random.Generator) -> anndata.AnnData:
    """Spots of a disc, without those beyond a cut, and counts of genes that follow the domains."""
    place = rng.uniform(-1, 1, size=(6 * spots, 2))
    place = place[(np.hypot(*place.T) < 1) & (place[:, 0] < cut)][:spots]
    profiles = np.random.default_rng(0).gamma(0.7, 2.0, size=(7, GENES))
    made = anndata.AnnData(
        np.log1p(rng.poisson(profiles[domains(place)])),
        obs=pd.DataFrame(index=[f"{name}{k}" for k in range(spots)]),
        var=pd.DataFrame(index=[f"gene{k}" for k in range(GENES)]),
    )
    made.obsm["tissue"] = place
    made.obsm["spatial"] = UNIT * place
    return made


def slices(n: int, m: int, overlap: float) -> tuple[anndata.AnnData, anndata.AnnData]:
    """Two sections of one tissue; the second one is turned over its slide and moved."""
    rng = np.random.default_rng(1)
    cut = 2.0 if overlap == 1 else 2 * overlap - 1
    a, b = section("a", n, cut, rng), section("b", m, cut, rng)
    if overlap < 1:  # the second one is cut on the other side
        b.obsm["tissue"] = b.obsm["tissue"] * [-1, 1]
        profiles = np.random.default_rng(0).gamma(0.7, 2.0, size=(7, GENES))
        b.X = np.log1p(rng.poisson(profiles[domains(b.obsm["tissue"])]))
    turn = np.array([[np.cos(2.2), -np.sin(2.2)], [np.sin(2.2), np.cos(2.2)]])
    b.obsm["spatial"] = UNIT * (b.obsm["tissue"] @ turn.T + [2.0, 1.0])
    return a, b


def picture(a: anndata.AnnData, b: anndata.AnnData, file: str) -> None:
    """Both slices; matched spots have the colour of the place in the first one."""
    import matplotlib.pyplot as plt

    place = a.obsm["spatial"]
    x = (place - place.min(axis=0)) / np.ptp(place, axis=0)
    shade = np.stack([x[:, 0], 0.35 + 0 * x[:, 0], x[:, 1]], axis=1)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
    for ax, own, other, name in zip(axes, (a, b), (b, a), ("First slice", "Second slice")):
        match = own.obs["gwfast_match"]
        held = match.notna().to_numpy()
        colour = np.full((own.n_obs, 3), 0.85)
        colour[held] = shade[held] if own is a else shade[other.obs_names.get_indexer(match[held])]
        ax.scatter(*own.obsm["spatial"].T, c=colour, s=2)
        ax.set_title(name)
        ax.set_aspect("equal")
        ax.set_axis_off()
    figure.savefig(file, dpi=120)


def run(n: int, m: int, overlap: float, alpha: float | str, file: str | None) -> dict[str, float]:
    """Make, align, measure; returns the figures that it prints."""
    a, b = slices(n, m, overlap)
    begin = time.perf_counter()
    found = align(a, b, features="X", alpha=alpha, overlap=None if overlap == 1 else 2 - 1 / overlap)
    seconds = time.perf_counter() - begin
    held = found.matches >= 0
    off = b.obsm["tissue"][found.matches[held]] - a.obsm["tissue"][held]
    error = UNIT * np.hypot(*off.T)
    spacing = UNIT * np.sqrt(np.pi / n)
    print(found)
    print(f"error        median {np.median(error):.0f} um, 90 % below {np.quantile(error, 0.9):.0f} um")
    print(f"spacing      {spacing:.0f} um between neighbouring spots")
    if file is not None:
        picture(a, b, file)
    figures = {"seconds": seconds, "median_um": float(np.median(error)), "spacing_um": float(spacing)}
    return figures | {"value": found.value, "lower": found.lower, "alpha": found.alpha}


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spots", type=int, nargs=2, default=(20_000, 18_000), metavar=("N", "M"))
    parser.add_argument("--overlap", type=float, default=1.0, help="share of the tissue's width in each slice")
    parser.add_argument("--alpha", default="sweep", help='share of the places, or "sweep"')
    parser.add_argument("--picture", help="file for a picture of both slices")
    given = parser.parse_args()
    alpha = given.alpha if given.alpha == "sweep" else float(given.alpha)
    run(*given.spots, given.overlap, alpha, given.picture)


if __name__ == "__main__":
    main()
