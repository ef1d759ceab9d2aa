"""Certificates in files: one .npz, written at once or not at all, read without running anything in it."""

from __future__ import annotations

import json
import math
import os
import secrets
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gwfast.arrays import item
from gwfast.errors import InputError
from gwfast.methods import DUALS
from gwfast.result import Bound, Certificate

_FORMAT, _VERSION = "gwfast certificate", 1
_BROKEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,  # a header that claims a huge array
    NotImplementedError,
    OSError,
    RuntimeError,  # an encrypted archive
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_certificate(path: str | os.PathLike[str], certificate: Certificate) -> None:
    """Write a certificate with its duals into one .npz file, so that `verify` can prove it again later.

    Parameters
    ----------
    path : str or path
        Ends in .npz; a file that is there is replaced, whole or not at all.
    certificate : Certificate
        From any front door.  Tensors are stored as numbers; gradients are not.

    Raises
    ------
    InputError
        An argument is not as above, or the folder of `path` is not there.
    OSError
        The file cannot be written.

    Notes
    -----
    Time and size O(nm (n + m)) numbers for a dual of the reformulation, O(n^2 m^2) for one of the cone; a few hundred
    bytes for bounds without a dual.  Neither the spaces nor the plan are stored.  Numbers keep every bit.

    Examples
    --------
    >>> import numpy as np, gwfast, tempfile, pathlib
    >>> C = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> certificate = gwfast.lower_bound(C, 3 * C)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gwfast.save_certificate(pathlib.Path(folder, "proof.npz"), certificate)
    ...     loaded = gwfast.load_certificate(pathlib.Path(folder, "proof.npz"))
    >>> loaded.lower == certificate.lower == gwfast.verify(loaded, C, 3 * C).lower
    True
    """
    target = _file(path)
    if not isinstance(certificate, Certificate):
        raise InputError(
            f"certificate: expected a Certificate, found {type(certificate).__name__}; pass the certificate of a result"
        )
    if target.suffix != ".npz":
        raise InputError(f"path: expected a file ending in .npz, found {str(target)!r}")
    if target.is_dir():
        raise InputError(f"path: {str(target)!r} is a folder; name a file")
    if not target.parent.is_dir():
        raise InputError(f"path: no folder {str(target.parent)!r}; make it first")
    arrays: dict[str, np.ndarray] = {}
    plan_value = certificate.plan_value
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "bounds": [_bound_record(bound, arrays) for bound in certificate.bounds],
        "plan_value": None if plan_value is None else _bound_record(plan_value, arrays),
        "marginal_error": float(certificate.marginal_error).hex(),
        "unverified": list(certificate.unverified),
        "scale": float(certificate.scale).hex(),
    }
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    # written beside the target and moved, so that a failure leaves no half-written proof
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            _write(file, {"header": text, **arrays})
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def load_certificate(path: str | os.PathLike[str]) -> Certificate:
    """Read a certificate that `save_certificate` wrote; what it says is a claim until `verify` has proved it again.

    Parameters
    ----------
    path : str or path
        The .npz file.  Nothing in it is run: no pickles are read.

    Returns
    -------
    Certificate
        Equal to the saved one bit by bit, tensors as numbers.

    Raises
    ------
    InputError
        No such file, or not one that `save_certificate` wrote: broken, cut short, foreign, or of a later format.

    Notes
    -----
    Time and memory are those of the file's size: an archive whose parts would be larger is refused.

    Examples
    --------
    >>> import gwfast
    >>> gwfast.load_certificate("nowhere.npz")
    Traceback (most recent call last):
    gwfast.errors.InputError: nowhere.npz: no such file; check the path
    """
    source = _file(path)
    if not source.is_file():
        raise InputError(f"{source}: no such file; check the path")
    with source.open("rb") as file:  # opened here: numpy leaves its own file open where the archive is broken
        try:
            _check_sizes(file, source.stat().st_size)
            with np.load(file, allow_pickle=False) as archive:
                return _read(archive)
        except _BROKEN as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{source}: expected a certificate written by gwfast.save_certificate ({said})") from None


def _file(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path: expected a file name, found {path!r}")
    if "\0" in os.fspath(path):
        raise InputError(f"path: expected a file name, found a null byte in {path!r}")
    return Path(path)


def _check_sizes(file: BinaryIO, size: int) -> None:
    """Refuse an archive that would take more memory than the file; `save_certificate` compresses nothing."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > size:
            raise ValueError(f"its parts claim more than the {size} bytes of the file")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            with archive.open(member) as part:
                version = np.lib.format.read_magic(part)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(part)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename} claims the shape {shape}")
    file.seek(0)


def _write(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """What numpy.savez writes, without a date, so that equal certificates give equal files."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _bound_record(bound: Bound, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The JSON record of a bound; the arrays of its dual go into `arrays`."""
    return {
        "side": bound.side,
        "value": item(bound.value).hex(),
        "theorem": bound.theorem,
        "margin": float(bound.margin).hex(),
        "seconds": float(bound.seconds).hex(),
        "dual": None if bound.dual is None else _dual_record(bound, arrays),
    }


def _dual_record(bound: Bound, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    dual: Any = bound.dual
    kinds = [name for name, kind in DUALS.items() if isinstance(dual, kind)]
    if not kinds:
        raise InputError(
            f"certificate: the dual of {bound.theorem}: expected one of "
            f"{', '.join(kind.__name__ for kind in DUALS.values())}, found {type(dual).__name__}; "
            "take one that gwfast made"
        )
    names = {}
    for name in _array_names(kinds[0]):
        names[name] = f"array{len(arrays)}"
        arrays[names[name]] = np.ascontiguousarray(getattr(dual, name), dtype=np.float64)
    return {"kind": kinds[0], "arrays": names, "scale": float(dual.scale).hex()}


def _array_names(kind: str) -> list[str]:
    return [f.name for f in fields(DUALS[kind]) if f.name != "scale"]


def _read(archive: Any) -> Certificate:
    header = json.loads(archive["header"].tobytes().decode())
    if header["format"] != _FORMAT:
        raise ValueError(f"found format {header['format']!r}")
    if header["version"] != _VERSION:
        raise ValueError(f"found version {header['version']!r} of the format, this gwfast reads {_VERSION}")
    bounds = tuple(_bound(record, archive) for record in header["bounds"])
    if not bounds:
        raise ValueError("found no bounds")
    upper = None if header["plan_value"] is None else _bound(header["plan_value"], archive)
    unverified = tuple(_text(theorem) for theorem in header["unverified"])
    scale = float.fromhex(header.get("scale", "nan"))  # not in certificates of earlier releases
    return Certificate(bounds, upper, float.fromhex(header["marginal_error"]), unverified, scale)


def _bound(record: dict[str, Any], archive: Any) -> Bound:
    value, margin, seconds = (float.fromhex(record[name]) for name in ("value", "margin", "seconds"))
    dual = None if record["dual"] is None else _dual(record["dual"], archive)
    if record["side"] not in ("lower", "upper"):
        raise ValueError(f"found side {record['side']!r}")
    return Bound(record["side"], value, _text(record["theorem"]), margin, seconds, dual)


def _dual(record: dict[str, Any], archive: Any) -> Any:
    arrays = {}
    for name in _array_names(record["kind"]):
        array = archive[record["arrays"][name]]
        if array.dtype != np.float64:
            raise ValueError(f"{name} of a dual holds {array.dtype}")
        arrays[name] = array
    return DUALS[record["kind"]](**arrays, scale=float.fromhex(record["scale"]))


def _text(x: Any) -> str:
    if not isinstance(x, str):
        raise TypeError(f"found {x!r} instead of a name")
    return x
