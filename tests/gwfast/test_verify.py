"""Certificates kept in files and proved again: nothing lost or believed; long, as every kind of file is tried."""

import io
import json
import math
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gwfast
import reference
from gwfast.arrays import item
from gwfast.bounds.doubly_nonnegative import Cone
from gwfast.bounds.doubly_nonnegative_dual import ConeDual
from gwfast.bounds.rlt1 import Reformulation
from gwfast.bounds.rlt1_dual import ReformulationDual
from strategies import cases, cost, weights


def deep(C1, C2, p=None, q=None, M=None, alpha=None, sweeps=40, steps=25):
    """A certificate with both duals: its bounds, and a claim that rests on no dual."""
    problem = reference.problem_of(C1, C2, p, q, M, alpha)
    bounds = gwfast.lower_bound(C1, C2, p, q, M=M, alpha=alpha, effort="spectral").bounds
    run = Reformulation(problem)
    run.run(sweeps)
    run.certify()
    cone = Cone(run)
    cone.run(steps)
    bounds += (run.best,) if run.trivial else (run.best, cone.certify())  # the cone's bound as it is, best or not
    run.close()
    return gwfast.Certificate((*bounds, gwfast.Bound("lower", bounds[0].value, "low-dimension")))


def arguments(case):
    return (case.C1, case.C2, case.p, case.q), {"M": case.M, "alpha": case.alpha}


def feasible(case):
    """The least objective of a few couplings: the product, the sorted and the annealed plan."""
    given, fused = arguments(case)
    product = reference.objective(case.C1, case.C2, np.outer(*case.weights), case.M, case.share)
    return min(product, gwfast.sorted_gw(*given, **fused).value, gwfast.exact_gw(*given, **fused).value)


def spoilt(rng, x, how):
    """An array of numbers that nobody computed."""
    if how == "scaled":
        return x * 10.0 ** rng.uniform(-3, 3) * rng.choice([-1, 1])
    if how == "noise":
        return x + 10.0 ** rng.uniform(-6, 3) * rng.normal(size=x.shape)
    if how == "huge":
        return x + rng.choice([-1, 1], size=x.shape) * 10.0 ** rng.uniform(100, 308)
    value = {"nan": math.nan, "inf": math.inf, "minus inf": -math.inf}[how]
    return np.where(rng.random(x.shape) < 0.1, value, x)


HOW = ("scaled", "noise", "huge", "nan", "inf", "minus inf")
ARRAYS = {ReformulationDual: ("rows", "cols", "prices"), ConeDual: ("matrix", "prices")}


def tampered(rng, certificate, how):
    """The certificate with one array of each dual spoilt, and values that claim too much."""
    bounds = []
    for bound in certificate.bounds:
        dual = bound.dual
        if dual is not None:
            name = rng.choice(ARRAYS[type(dual)])
            dual = replace(dual, **{name: spoilt(rng, getattr(dual, name), how)})
        bounds.append(replace(bound, value=1e9, margin=0.0, dual=dual))
    return replace(certificate, bounds=tuple(bounds))


def pair(seed, n, m, kind="cloud", symmetric=True):
    rng = np.random.default_rng(seed)
    return cost(rng, n, kind, symmetric), cost(rng, m, kind, symmetric)


@settings(max_examples=12)
@given(case=cases(max_points=4))
def test_a_certificate_is_proved_again(case):
    given, fused = arguments(case)
    certificate = deep(*given, **fused)
    again = gwfast.verify(certificate, *given, **fused)
    assert set(again.unverified) == {"low-dimension"}
    for bound in certificate.bounds[:-1]:
        assert again[bound.theorem].value == bound.value
        assert again[bound.theorem].margin == bound.margin
    assert item(again.lower) <= feasible(case)


def test_the_front_doors_keep_the_dual_of_the_best_bound():
    C1, C2 = pair(0, 6, 6, "normal")
    problem = reference.problem_of(C1, C2, None, None, None, None)
    bounded = gwfast.lower_bound(C1, C2, effort="dual", time_limit=60)  # first: it compiles what the next one needs
    proved = gwfast.exact_gw(C1, C2, effort="prove", time_limit=1).certificate
    for certificate in (proved, bounded):
        kept = [bound for bound in certificate.bounds if bound.dual is not None]
        assert {"reformulation"} <= {bound.theorem for bound in kept} <= {"reformulation", "cone"}
        assert all(bound.dual.verify(problem).value == bound.value for bound in kept)
    assert "array" not in repr(proved)


def test_a_weighted_fused_asymmetric_pair_with_points_without_mass():
    rng = np.random.default_rng(1)
    C1, C2 = pair(1, 6, 5, "normal", symmetric=False)
    p, q, M = np.r_[weights(rng, 4, "spread"), 0, 0], np.r_[0.0, weights(rng, 4, "spread")], rng.normal(size=(6, 5))
    result = gwfast.exact_gw(C1, C2, p, q, M=M, alpha=0.4, effort="dual", time_limit=60)
    again = gwfast.verify(result.certificate, C1, C2, p, q, M=M, alpha=0.4, plan=result.plan)
    assert again["reformulation"].value == result.certificate["reformulation"].value
    assert again.upper == pytest.approx(result.upper, rel=1e-12)
    assert again.lower <= reference.best_descent(C1, C2, p, q, 5, rng, M, 0.4) + 1e-12
    with pytest.raises(gwfast.InputError, match=r"rows of its reformulation dual: expected shape \(6, 6, 5\)"):
        gwfast.verify(result.certificate, C1, C2, M=M, alpha=0.4)


@pytest.mark.parametrize("how", HOW)
def test_a_spoilt_dual_never_proves_too_much(how):
    rng = np.random.default_rng(HOW.index(how))
    C1, C2 = (reference.negative_type(rng, 5) for _ in range(2))  # the best permutation is the best coupling
    M = rng.normal(size=(5, 5))
    plain, fused = deep(C1, C2), deep(C1, C2, M=M, alpha=0.5)
    best, best_fused = reference.best_permutation(C1, C2), reference.best_permutation(C1, C2, M, 0.5)
    for _ in range(8):
        again = gwfast.verify(tampered(rng, plain, how), C1, C2)
        assert 0 <= again.lower <= best
        again = gwfast.verify(tampered(rng, fused, how), C1, C2, M=M, alpha=0.5)
        assert -math.inf < again.lower <= best_fused
        assert again["reformulation"].value <= best_fused
        assert again["cone"].value <= best_fused


@settings(max_examples=20)
@given(case=cases(max_points=4), how=st.sampled_from(HOW), seed=st.integers(0, 99))
def test_a_spoilt_dual_of_any_problem(case, how, seed):
    given, fused = arguments(case)
    rng = np.random.default_rng(seed)
    again = gwfast.verify(tampered(rng, deep(*given, **fused, sweeps=10, steps=5), how), *given, **fused)
    assert again.lower <= feasible(case)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, 1e-300, 1e300])
def test_a_spoilt_scale(scale):
    C1, C2 = pair(2, 4, 4)
    certificate = deep(C1, C2)
    bounds = [b if b.dual is None else replace(b, dual=replace(b.dual, scale=scale)) for b in certificate.bounds]
    again = gwfast.verify(replace(certificate, bounds=tuple(bounds)), C1, C2)
    assert 0 <= again.lower <= reference.best_permutation(C1, C2)


@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e60])
def test_a_certificate_of_other_spaces_is_never_false(scale):
    rng = np.random.default_rng(3)
    certificate = deep(*(reference.negative_type(rng, 5) for _ in range(2)))
    for _ in range(5):
        C1, C2 = (scale * reference.negative_type(rng, 5) for _ in range(2))
        assert 0 <= gwfast.verify(certificate, C1, C2).lower <= reference.best_permutation(C1, C2)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (5, 3), (5, 5)])
def test_wrong_sizes_say_what_to_do(n, m):
    C1, C2 = pair(4, 5, 4)
    other = pair(4, n, m)
    for bound in deep(C1, C2).bounds:
        if bound.dual is None:
            continue
        with pytest.raises(gwfast.InputError, match="pass the spaces and weights that it was made for") as error:
            gwfast.verify(gwfast.Certificate((bound,)), *other)
        assert "\n" not in str(error.value)


def test_what_is_no_certificate_is_refused(tmp_path):
    C1, C2 = pair(5, 3, 3)
    result = gwfast.sorted_gw(C1, C2)
    with pytest.raises(gwfast.InputError, match="certificate: expected a Certificate, found Result"):
        gwfast.verify(result, C1, C2)
    with pytest.raises(gwfast.InputError, match="certificate: expected a Certificate, found Result"):
        gwfast.save_certificate(tmp_path / "a.npz", result)

    class Liar:
        def verify(self, problem):
            return gwfast.Bound("lower", 1e9, "trust me")

    certificate = gwfast.Certificate((gwfast.Bound("lower", 0.0, "trust me", dual=Liar()),))
    with pytest.raises(gwfast.InputError, match="ConeDual, found Liar"):
        gwfast.verify(certificate, C1, C2)
    with pytest.raises(gwfast.InputError, match="ConeDual, found Liar"):
        gwfast.save_certificate(tmp_path / "a.npz", certificate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 3])
def test_a_path_that_is_none(path):
    with pytest.raises(gwfast.InputError, match="path: expected a file name"):
        gwfast.save_certificate(path, gwfast.lower_bound(*pair(3, 2, 2)))
    with pytest.raises(gwfast.InputError, match="path: expected a file name"):
        gwfast.load_certificate(path)


def test_what_was_left_out_is_named():
    C1, C2 = pair(6, 5, 5)
    # without memory for a reformulation nothing closes the gap before the split bounds are done
    certificate = gwfast.exact_gw(C1, C2, effort="dual", memory_limit=1.0, time_limit=30).certificate
    again = gwfast.verify(certificate, C1, C2)
    assert set(again.unverified) >= {"quadratic", "split"}
    assert not set(again.unverified) & {bound.theorem for bound in again.bounds}
    assert {b.theorem for b in certificate.bounds} <= set(again.unverified) | {b.theorem for b in again.bounds}
    assert "left out     " + again.unverified[0] in str(again)
    assert again.upper == math.inf
    claim = replace(certificate, bounds=(gwfast.Bound("lower", 1e9, "no such theorem"),))
    again = gwfast.verify(claim, C1, C2)
    assert again.unverified == ("no such theorem",)
    assert again.lower == gwfast.sorted_gw(C1, C2).lower


def test_a_plan_is_checked_as_in_certify():
    C1, C2 = pair(7, 4, 4)
    certificate = gwfast.lower_bound(C1, C2)
    plan = np.full((4, 4), 1 / 16)
    again, direct = gwfast.verify(certificate, C1, C2, plan=plan), gwfast.certify(C1, C2, plan)
    assert (again.lower, again.upper, again.marginal_error) == (direct.lower, direct.upper, direct.marginal_error)
    with pytest.raises(gwfast.InputError, match="its marginals differ"):
        gwfast.verify(certificate, C1, C2, plan=np.eye(4))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tensors(dtype, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is an extra")
    C1, C2 = (torch.tensor(C, dtype=getattr(torch, dtype), requires_grad=True) for C in pair(8, 5, 4, "normal"))
    result = gwfast.exact_gw(C1, C2, effort="dual", time_limit=60)
    path = tmp_path / "a.npz"
    gwfast.save_certificate(path, result.certificate)
    loaded = gwfast.load_certificate(path)
    assert [b.value for b in loaded.bounds] == [item(b.value) for b in result.certificate.bounds]
    again = gwfast.verify(loaded, C1, C2, plan=result.plan)
    assert again.upper.dtype == C1.dtype
    assert again["reformulation"].value == item(result.certificate["reformulation"].value)
    assert item(again.upper) == pytest.approx(item(result.upper), rel=1e-6)
    by_numpy = gwfast.verify(loaded, C1.detach().double().numpy(), C2.detach().double().numpy())
    # rounded down to the caller's precision
    assert 0 <= by_numpy["reformulation"].value - item(again["reformulation"].value) <= 1e-6 * by_numpy.lower


def same(a, b):
    """Whether two bounds agree to the bit, duals included."""
    numbers = [(item(x.value).hex(), float(x.margin).hex(), float(x.seconds).hex()) for x in (a, b)]
    if numbers[0] != numbers[1] or (a.side, a.theorem) != (b.side, b.theorem) or type(a.dual) is not type(b.dual):
        return False
    names = (*ARRAYS.get(type(a.dual), ()),)
    return all(np.array_equal(getattr(a.dual, k), getattr(b.dual, k), equal_nan=True) for k in names)


def test_a_file_keeps_every_bit(tmp_path):
    C1, C2 = pair(9, 5, 4)
    certificate = deep(C1, C2)
    odd = gwfast.Bound("lower", math.nan, "größe", -math.inf, math.inf)
    dual = replace(certificate["cone"].dual, prices=np.full((5, 4, 4), math.nan), scale=5e-324)
    strange = replace(certificate["cone"], theorem="strange", dual=dual)
    upper = gwfast.Bound("upper", 0.1 + 0.2, "feasible-plan", 1e-17)
    certificate = replace(
        certificate, bounds=(*certificate.bounds, odd, strange), plan_value=upper, unverified=("a", "b")
    )
    paths = tmp_path / "a.npz", tmp_path / "b.npz"
    for path in paths:
        gwfast.save_certificate(str(path), certificate)
    loaded = gwfast.load_certificate(paths[0])
    assert len(loaded.bounds) == len(certificate.bounds)
    assert all(same(a, b) for a, b in zip(loaded.bounds, certificate.bounds))
    assert same(loaded.plan_value, upper)
    assert math.isnan(loaded.marginal_error)
    assert loaded.unverified == ("a", "b")
    assert loaded["strange"].dual.scale == 5e-324
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == list(paths)  # nothing else is left


def test_an_unwritten_file_leaves_the_old_one(tmp_path, monkeypatch):
    C1, C2 = pair(10, 3, 3)
    certificate = gwfast.lower_bound(C1, C2)
    path = tmp_path / "a.npz"
    gwfast.save_certificate(path, certificate)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="no space left"):
                gwfast.save_certificate(path, gwfast.lower_bound(C1, 2 * C2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(gwfast.InputError, match=r"path: expected a file ending in \.npz"):
        gwfast.save_certificate(tmp_path / "a.json", certificate)
    with pytest.raises(gwfast.InputError, match="path: no folder"):
        gwfast.save_certificate(tmp_path / "nowhere" / "a.npz", certificate)


def refused(path, match="expected a certificate written by"):
    with pytest.raises(gwfast.InputError, match=match) as error:
        gwfast.load_certificate(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_foreign_files(tmp_path):
    refused(tmp_path / "none.npz", "no such file")
    refused(tmp_path, "no such file")
    for name, content in {
        "empty": b"",
        "text": b"hello\nworld",
        "zip": b"PK\x03\x04 no",
        "npy": b"\x93NUMPY\x01",
    }.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        refused(path)
    path = tmp_path / "array.npz"
    with path.open("wb") as file:
        np.save(file, np.eye(3))
    refused(path)
    np.savez(path, C=np.eye(3))
    refused(path)
    np.savez(path, header=np.array([{"a": 1}], dtype=object))  # a pickle
    refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", "text")
    refused(path)


def test_cut_and_broken_files(tmp_path):
    C1, C2 = pair(11, 3, 3)
    certificate = deep(C1, C2)
    path = tmp_path / "a.npz"
    gwfast.save_certificate(path, certificate)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 50):
        path.write_bytes(whole[:length])
        refused(path)
    rng = np.random.default_rng(11)
    for _ in range(200):
        at = int(rng.integers(len(whole)))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1 :])
        try:
            loaded = gwfast.load_certificate(path)
        except gwfast.InputError:
            continue
        assert gwfast.verify(loaded, C1, C2).lower <= reference.best_permutation(C1, C2)  # an idle byte of the archive


CHANGES = {
    "another format": (lambda h: h.update(format="gwfast plan"), "found format 'gwfast plan'"),
    "a later version": (lambda h: h.update(version=2), "found version 2 of the format, this gwfast reads 1"),
    "no version": (lambda h: h.pop("version"), "expected a certificate"),
    "no bounds": (lambda h: h.update(bounds=[]), "expected a certificate"),
    "bounds of another kind": (lambda h: h.update(bounds=3), "expected a certificate"),
    "a bound without value": (lambda h: h["bounds"][0].pop("value"), "expected a certificate"),
    "a value in words": (lambda h: h["bounds"][0].update(value="much"), "expected a certificate"),
    "a number without text": (lambda h: h["bounds"][0].update(value=1.0), "expected a certificate"),
    "a side that is none": (lambda h: h["bounds"][0].update(side="left"), "found side 'left'"),
    "a theorem without name": (lambda h: h["bounds"][0].update(theorem=7), "expected a certificate"),
    "a dual of another kind": (lambda h: h["bounds"][-2]["dual"].update(kind="pickle"), "expected a certificate"),
    "an array that is not there": (lambda h: h["bounds"][-2]["dual"]["arrays"].update(matrix="x"), "expected a"),
    "an array of another kind": (lambda h: h["bounds"][-2]["dual"]["arrays"].update(matrix="header"), "holds uint8"),
    "a list": (lambda h: h.update(unverified=[1]), "expected a certificate"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_headers_that_do_not_fit(name, tmp_path):
    change, match = CHANGES[name]
    path = tmp_path / "a.npz"
    gwfast.save_certificate(path, deep(*pair(12, 3, 3), sweeps=2, steps=2))
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    change(header)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(path, **arrays)
    refused(path, match)


def test_an_archive_that_would_fill_the_memory(tmp_path):
    C = cost(np.random.default_rng(0), 4, "cloud")
    gwfast.save_certificate(tmp_path / "good.npz", gwfast.lower_bound(C, 2 * C, effort="dual"))
    with zipfile.ZipFile(tmp_path / "good.npz") as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    zeros = io.BytesIO()
    np.lib.format.write_array(zeros, np.zeros(10**6))
    claim = np.lib.format.magic(1, 0) + (118).to_bytes(2, "little")
    claim += b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }".ljust(117) + b"\n"
    for name, replaced, message in (
        ("bomb", {"array0.npy": zeros.getvalue()}, "array0.npy is compressed|claim more than"),
        ("header", {"header.npy": zeros.getvalue()}, "header.npy is compressed|claim more than"),
        ("other", {"unused.npy": zeros.getvalue()}, "is compressed|claim more than"),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            for part, content in (parts | replaced).items():
                archive.writestr(part, content)
        assert (tmp_path / f"{name}.npz").stat().st_size < 100_000
        with pytest.raises(gwfast.InputError, match=message):
            gwfast.load_certificate(tmp_path / f"{name}.npz")
    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as archive:
        for part, content in (parts | {"array0.npy": claim}).items():
            archive.writestr(part, content)
    with pytest.raises(gwfast.InputError, match=r"array0.npy claims the shape"):
        gwfast.load_certificate(tmp_path / "claim.npz")
