"""Slices of AnnData: what is matched, written, proved and refused."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import gwfast
from gwfast.bounds.free_rows import sign
from gwfast.interop.alignment import partners, rigid
from gwfast.interop.overlap import gradient, overlapping
from gwfast.interop.slices import Slice, in_one_unit, problem_of

anndata = pytest.importorskip("anndata")
pd = pytest.importorskip("pandas")
from gwfast.interop.anndata import ALPHAS, align, chosen, sweep  # noqa: E402

TURN = np.array([[np.cos(2.0), -np.sin(2.0)], [np.sin(2.0), np.cos(2.0)]])


def genes(rng, place, profiles):
    """Counts of a smooth pattern of places."""
    level = np.exp(-((place[:, :1] - [-0.6, 0.0, 0.7]) ** 2 + (place[:, 1:] - [0.5, -0.6, 0.2]) ** 2) / 0.3)
    return rng.poisson(20 * level @ profiles)


def pair(seed=0, n=150, m=150, own=1.0):
    """Two slices of one tissue; `own` is the share of each that the other one has."""
    rng = np.random.default_rng(seed)
    profiles = rng.gamma(0.5, 2.0, size=(3, 12))
    places = rng.uniform(-1, 1, size=(2, 2 * max(n, m), 2))
    left = places[0][places[0][:, 0] < 2 * own - 1 + 1e-9][:n] if own < 1 else places[0][:n]
    right = places[1][places[1][:, 0] > 1 - 2 * own][:m] if own < 1 else places[1][:m]
    slices = []
    for name, place in (("a", left), ("b", right)):
        counts = genes(rng, place, profiles)
        made = anndata.AnnData(
            sp.csr_matrix(np.log1p(counts)),
            obs=pd.DataFrame(index=[f"{name}{k}" for k in range(len(place))]),
            var=pd.DataFrame(index=[f"gene{k}" for k in range(12)]),
        )
        made.layers["counts"] = sp.csr_matrix(counts)
        made.obsm["truth"] = place
        made.obsm["spatial"] = 100 * (place if name == "a" else place @ TURN.T + 3)
        slices.append(made)
    return slices


def error(a, b, found):
    """Distances in the first frame of matched spots."""
    held = found.matches >= 0
    return np.linalg.norm(a.obsm["truth"][held] - b.obsm["truth"][found.matches[held]], axis=1)


def test_a_turned_copy_is_matched_to_itself_and_written():
    a, _ = pair()
    b = a[::-1].copy()
    b.obs_names = [f"b{k}" for k in range(b.n_obs)]
    b.obsm["spatial"] = b.obsm["spatial"] @ TURN.T + [5.0, -7.0]
    found = align(a, b)
    assert found.matches.tolist() == list(range(b.n_obs))[::-1]
    assert a.obs["gwfast_match"].tolist() == [f"b{k}" for k in range(b.n_obs)][::-1]
    assert b.obs["gwfast_match"].tolist() == a.obs_names.tolist()[::-1]
    assert np.allclose(a.obsm["gwfast_coordinates"], b.obsm["spatial"][::-1])
    assert np.allclose(found.motion.rotation, TURN)
    assert not found.motion.mirrored
    assert float(a.obs["gwfast_residual"].max()) < 1e-6
    assert a.uns["gwfast"]["value"] == found.value
    assert found.lower <= found.value <= found.upper
    assert "matched" in str(found)
    table = found.to_frame()
    assert table["first"].tolist() == a.obs_names.tolist()
    assert table["second"].tolist() == a.obs["gwfast_match"].tolist()


@pytest.mark.parametrize("features", ["X", "counts", "joint"])
def test_features_bring_neighbours_together(features):
    a, b = pair(1, 160, 140)
    for s in (a, b):
        s.obsm["joint"] = s.X.toarray()
    found = align(a, b, features=features, alpha=0.6)
    assert np.median(error(a, b, found)) < 0.25
    assert found.plan.shape == (160, 140)
    assert np.allclose(found.plan.marginals()[0], 1 / 160)


def test_overlapping_slices_match_what_they_share():
    a, b = pair(2, 220, 220, own=0.8)
    found = align(a, b, features="X", alpha=0.7, overlap=0.72)
    held = found.matches >= 0
    carried = found.plan.marginals()[0].sum()
    assert carried == pytest.approx(0.72)
    assert np.isnan(a.obsm["gwfast_coordinates"][~held]).all()
    assert a.obs["gwfast_match"].isna().sum() == (~held).sum() > 0
    assert np.median(error(a, b, found)) < 0.2
    shared = a.obsm["truth"][:, 0] > -0.6
    assert (held == shared).mean() > 0.75
    assert 0 <= found.lower <= found.value <= found.upper
    assert found.overlap == 0.72


def test_many_spots_overlap_through_clusters(monkeypatch):
    """The plan is feasible, near the best one between few spots, and near the first order of its objective."""
    from gwfast.interop import overlap

    monkeypatch.setattr(overlap, "COARSE", 40)
    monkeypatch.setattr(overlap, "FINE", 120)
    a, b = pair(3, 250, 240, own=0.8)
    sides = [Slice(s.obsm["spatial"], s.X.toarray(), np.full(s.n_obs, 1 / s.n_obs)) for s in (a, b)]
    x, y, _ = in_one_unit(*sides)
    plan = overlapping(x, y, 0.7, 0.7)
    problem = problem_of(x, y, 0.7, gwfast.Partial(0.7))
    assert gwfast.certify(problem, None, plan, effort="sort").marginal_error < 1e-12
    best = gwfast.exact_gw(problem)
    assert float(problem.objective(plan)) <= 1.6 * best.value
    T = plan.toarray()
    i, k, w = plan.atoms()
    slope = gradient(x, y, (x.place[i], y.place[k], w), 0.7)
    step = np.random.default_rng(0).random(T.shape) * 1e-10
    moved = replace(plan, rows=None, cols=None, mass=None, matrix=T + step)
    change = float(problem.objective(moved)) - float(problem.objective(replace(moved, matrix=T)))
    assert change == pytest.approx(float((slope * step).sum()), rel=1e-3)


def test_the_sign_bound_between_many_points_is_below_the_linear_program(monkeypatch):
    from gwfast.bounds import free_rows

    rng = np.random.default_rng(4)
    for _ in range(10):
        M, p, q = rng.normal(size=(9, 7)), rng.dirichlet(np.ones(9)), rng.dirichlet(np.ones(7))
        C1, C2 = rng.random((9, 9)), rng.random((7, 7))
        problem = gwfast.Problem.of(C1, C2, p, q, M=M, alpha=0.3, marginals=gwfast.Partial(0.6))
        exact = sign(problem).bounds[0].value
        monkeypatch.setattr(free_rows, "_PROGRAM", 0)
        assert sign(problem).bounds[0].value <= exact + 1e-12
        monkeypatch.undo()


def test_a_sweep_takes_the_largest_alpha_whose_features_agree():
    a, b = pair(5, 200, 200)
    found = align(a, b, features="X", alpha="sweep", key=None)
    assert found.alpha in ALPHAS
    assert found.alpha == chosen(found.sweep)
    assert [t.alpha for t in found.sweep] == list(ALPHAS[: len(found.sweep)])
    assert found.sweep[-1].alpha == ALPHAS[-1] or found.sweep[-1].features > 2 * found.sweep[0].features
    structure = [t.structure for t in found.sweep]
    assert structure[-1] < structure[0]
    assert "gwfast_match" not in a.obs
    x, y, _ = in_one_unit(*(Slice(s.obsm["truth"], s.X.toarray(), np.full(s.n_obs, 1 / s.n_obs)) for s in (a, b)))
    for end in (0.0, 1.0):  # both terms have one unit
        product = problem_of(x, y, end).objective(gwfast.Plan((200, 200), matrix=np.full((200, 200), 1 / 40000)))
        assert float(product) == pytest.approx(1.0)
    assert all(t.features < 1 for t in sweep(x, y, 0.8, alphas=(0.1, 0.5)))


def test_motion_and_partners():
    rng = np.random.default_rng(6)
    places = rng.normal(size=(6, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    motion = rigid(places, places @ turn.T + 1.0, np.full(6, 1 / 6))
    assert np.allclose(motion(places), places @ turn.T + 1.0)
    assert motion.mirrored == (np.linalg.det(turn) < 0)
    plan = gwfast.Plan((3, 2), np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0.1, 0.3, 0.2]))
    matches, images, mass = partners(plan, np.array([[0.0], [4.0]]))
    assert matches.tolist() == [1, 1, -1]
    assert np.allclose(images[:2, 0], [3.0, 4.0])
    assert np.isnan(images[2, 0])
    assert mass.tolist() == [0.4, 0.2, 0.0]


def broken(change):
    a, b = pair(7, 12, 10)
    arguments = {}
    change(a, b, arguments)
    return arguments.pop("a", a), arguments.pop("b", b), arguments


def put(name, value):
    def change(a, b, arguments):
        arguments[name] = value

    return change


def sweep_of_nothing(a, b, arguments):
    arguments |= {"features": None, "alpha": "sweep"}


def spoil(a, b, arguments):
    b.obsm["spatial"] = np.full((10, 2), np.nan)


def solid(a, b, arguments):
    b.obsm["spatial"] = np.ones((10, 3))


def unlike(a, b, arguments):
    a.obsm["X_pca"], b.obsm["X_pca"], arguments["features"] = np.ones((12, 3)), np.ones((10, 2)), "X_pca"


def apart(a, b, arguments):
    b.var_names = [f"other{k}" for k in range(12)]
    arguments["features"] = "X"


def gap(a, b, arguments):
    x = a.X.toarray()
    x[0, 0] = np.nan
    a.X, arguments["features"] = x, "X"


def view(a, b, arguments):
    arguments["b"] = b[:5]


def empty(a, b, arguments):
    arguments["a"] = a[:0].copy()


BAD = {
    "no AnnData": (put("a", np.ones((3, 2))), "a: expected an AnnData, found ndarray"),
    "no places": (put("coordinates", "X_umap"), 'coordinates: a.obsm has no "X_umap"; it has spatial, truth'),
    "keys": (put("coordinates", 3), "coordinates: expected a key of obsm, or a pair of keys, found 3"),
    "pair": (put("coordinates", ("spatial", "x")), 'coordinates: b.obsm has no "x"'),
    "NaN": (spoil, 'b.obsm["spatial"]: 20 of 20 entries are NaN or infinite'),
    "3-D": (solid, 'coordinates: found 2 of them in a.obsm["spatial"] and 3 in b.obsm["spatial"]'),
    "no features": (put("features", "X_pca"), 'features: a has no "X_pca" in obsm or layers; it has counts, spatial'),
    "features kind": (put("features", ["a"]), "features: expected a key of obsm"),
    "unlike": (unlike, 'features: found 3 of them in a.obsm["X_pca"] and 2 in b'),
    "no gene": (apart, "features: a and b have no gene in common (12 and 12 genes)"),
    "gap": (gap, "a.X: 1 entries are NaN or infinite"),
    "view": (view, "b: found a view of another AnnData"),
    "empty": (empty, "a: expected at least one spot, found none"),
    "alpha": (put("alpha", 2.0), "alpha: expected a number between 0 and 1, found 2"),
    "alpha word": (put("alpha", "best"), 'alpha: expected a number between 0 and 1, or "sweep"'),
    "sweep of nothing": (sweep_of_nothing, 'alpha: found "sweep" without features'),
    "overlap": (put("overlap", 1.5), "overlap: expected a share of the spots"),
    "effort": (put("effort", "much"), "effort: expected one of"),
    "components": (put("components", 0), "components: expected a whole number of at least 1"),
    "key": (put("key", ""), "key: expected the beginning of a name"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_input_gets_one_line_and_nothing_is_written(name):
    change, line = BAD[name]
    a, b, arguments = broken(change)
    with pytest.raises(gwfast.InputError) as caught:
        align(a, b, **arguments)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    for own in (a, b):
        if isinstance(own, anndata.AnnData):
            assert not [key for key in (*own.obs, *own.obsm, *own.uns) if key.startswith("gwfast")]
