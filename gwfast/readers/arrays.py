"""Arrays in numpy's files: .npy, .npz, and scipy's sparse matrices in .npz."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp

from gwfast.errors import InputError
from gwfast.readers.cells import Cells
from gwfast.readers.content import Content, Source, one_line
from gwfast.readers.edges import edges
from gwfast.readers.numbers import adjacency_content, alike, matrix_content, points_content


def read_npy(source: Source) -> Content:
    """Read an array: square ones are costs, whole numbers in two or three columns edges, others coordinates."""
    try:
        # mapped first: a header that claims more than the file holds is refused before any memory is taken
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            if source.packed:
                mapped = np.load(io.BytesIO(source.read()), allow_pickle=False)
            else:
                mapped = np.load(source.path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.ndarray):
            raise ValueError("it holds an archive; name it .npz")
        _check_numbers(source, mapped.dtype)
        array = np.array(mapped)
    except InputError:
        raise
    except Exception as error:  # a damaged header raises many kinds
        raise InputError(f"{source.path}: expected an array written by numpy.save ({one_line(error)})") from None
    return _content(source, array)


def read_npz(source: Source) -> Content:
    """Read one array of an archive, or scipy's sparse matrix, which is the adjacency of a graph."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            file = io.BytesIO(source.read())
            with np.load(file, allow_pickle=False) as archive:
                names = list(archive.files)
                if "format" in names and "shape" in names:
                    return _sparse(source, file, archive)
                array = _member(source, archive, names)
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises many kinds
        said = one_line(error)
        raise InputError(f"{source.path}: expected an archive written by numpy.savez ({said})") from None
    return _content(source, array)


def _member(source: Source, archive: Any, names: list[str]) -> np.ndarray:
    if not names:
        raise InputError(f"{source.path}: expected an array, found an empty archive")
    chosen = source.member or names[0]
    if chosen not in names or (not source.member and len(names) > 1):
        found = [" ".join(name.split()) for name in names[:8]]
        raise InputError(f"{source.path}: found the arrays {', '.join(found)}; name one, {source.path.name}:{found[0]}")
    array = archive[chosen]
    _check_numbers(source, array.dtype)
    return array


def _sparse(source: Source, file: io.BytesIO, archive: Any) -> Content:
    shape = [int(x) for x in np.ravel(archive["shape"])]
    data = archive["data"]
    _check_numbers(source, data.dtype)
    if len(shape) != 2 or min(shape) < 1 or shape[0] != shape[1]:
        raise InputError(f"{source.path}: expected a square sparse matrix, found shape {tuple(shape)}")
    if shape[0] > 16 * (data.size + 1000):
        raise InputError(
            f"{source.path}: the header claims {shape[0]} nodes, found {data.size} entries; the file is damaged"
        )
    file.seek(0)
    matrix = sp.csr_array(sp.load_npz(file))
    if source.kind == "matrix":
        return matrix_content(source, matrix.toarray())
    return adjacency_content(source, matrix)


def _check_numbers(source: Source, dtype: np.dtype[Any]) -> None:
    if dtype.kind == "c":
        raise InputError(f"{source.path}: expected real numbers, found dtype {dtype}; keep the modulus")
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {dtype}")


def _content(source: Source, array: np.ndarray) -> Content:
    if array.ndim == 1 and array.size > 1:
        raise InputError(
            f"{source.path}: expected a square matrix or coordinates, found shape {array.shape}; of condensed "
            "distances scipy.spatial.distance.squareform makes a matrix"
        )
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{source.path}: expected a square matrix or coordinates, found shape {array.shape}")
    n, d = array.shape
    whole = array.dtype.kind in "iu" and bool((array >= 0).all())
    square = n == d and (n > 3 or alike(array))
    kind = source.kind or ("matrix" if square else "edges" if d in (2, 3) and whole else "points")
    if kind == "edges":
        if d not in (2, 3):
            raise InputError(f"{source.path}: expected edges in two or three columns, found shape {array.shape}")
        rows = [[str(x) for x in row] for row in array.tolist()]
        otherwise = "" if source.kind else "--points reads coordinates"
        return edges(source, Cells(rows, list(range(1, n + 1)), ()), None, otherwise)
    if kind == "points":
        return points_content(source, array.astype(float))
    return matrix_content(source, array)
