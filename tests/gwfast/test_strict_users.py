"""Callers whose numpy raises on every floating-point event, whose warnings are errors, and whose files have a umask."""

import os
import stat
import warnings

import numpy as np
import pytest

import gwfast
from gwfast.__main__ import main
from strategies import cost

CALLS = {
    "sorted": lambda *a, **k: gwfast.sorted_gw(*a, **k),
    "exact": lambda *a, **k: gwfast.exact_gw(*a, effort="rows", **k),
    "entropic": lambda C1, *a, **k: gwfast.entropic_gw(C1, *a, epsilon=0.05 * max(np.abs(C1).max() ** 2, 1e-290), **k),
    "dual": lambda *a, **k: gwfast.lower_bound(*a, effort="dual", time_limit=0.5, **k),
    "prove": lambda *a, **k: gwfast.exact_gw(*a, effort="prove", time_limit=0.3, **k),
    "certify": lambda C1, C2, p, q, **k: gwfast.certify(C1, C2, product(p, q), p, q, effort="spectral", **k),
}


@np.errstate(all="ignore")
def product(p, q):
    return p[:, None] * q


def problems():
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-150, 1e150):
        for weights in ("uniform", "1e-160", "1e-300"):
            p = np.ones(5) / 5
            if weights != "uniform":
                p = np.array([1.0, float(weights), 0.5, 2 * float(weights), 0.25])
            C1, C2 = scale * cost(rng, 5, "cloud"), scale * cost(rng, 5, "normal")
            yield C1, C2, p / p.sum(), p[::-1] / p.sum(), None
    yield cost(rng, 5, "cloud"), cost(rng, 5, "cloud"), p / p.sum(), p / p.sum(), rng.normal(size=(5, 5))


@pytest.mark.filterwarnings("ignore:entropic_gw stopped:gwfast.ConvergenceWarning")
@pytest.mark.parametrize("call", CALLS)
def test_floating_point_events_of_the_library_stay_inside(call):
    for C1, C2, p, q, M in problems():
        with np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            found = CALLS[call](C1, C2, p, q, M=M)
            strict = np.geterr()
        assert strict == dict.fromkeys(strict, "raise")  # the caller's settings are as they were
        assert np.isfinite(found.lower)
        assert found.lower <= found.upper
        assert all(not np.isnan(bound.value) for bound in getattr(found, "certificate", found).bounds)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX systems")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_have_the_mode_that_the_umask_asks_for(tmp_path, mask):
    before = os.umask(mask)
    try:
        assert main(["karate", "florentine", "--plot", str(tmp_path / "out.png")]) == 0
        gwfast.save_certificate(tmp_path / "a.npz", gwfast.lower_bound(np.eye(2), np.eye(3)))
    finally:
        os.umask(before)
    for name in ("out.png", "a.npz"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("name", ["C1", "C2", "p", "M"])
def test_tensors_without_values_are_refused(name):
    torch = pytest.importorskip("torch", reason="torch is an extra")
    arguments = dict(C1=torch.eye(3), C2=torch.eye(3), p=torch.full((3,), 1 / 3), M=torch.eye(3))
    arguments[name] = arguments[name].to("meta")
    with pytest.raises(gwfast.InputError, match="meta"):
        gwfast.sorted_gw(**arguments)
    with pytest.raises(gwfast.InputError, match="meta"):
        gwfast.sorted_gw(**{k: v.to("meta") for k, v in arguments.items()})
    for space in (gwfast.Dense, gwfast.PointCloud, gwfast.Gram):
        with pytest.raises(gwfast.InputError, match="on the meta device"):
            space(torch.eye(3, device="meta"))
