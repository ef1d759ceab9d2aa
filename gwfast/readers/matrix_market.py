"""Matrix Market files: entries with indices are an adjacency, a square array costs, another one coordinates.

Parsed here, since the parser of scipy ends the process on damaged files.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from gwfast.errors import InputError
from gwfast.readers.content import Content, Source, one_line
from gwfast.readers.numbers import adjacency_content, matrix_content, points_content

_FIELDS = ("real", "integer", "double", "unsigned-integer", "pattern")
_SYMMETRIES = {"general": 0, "symmetric": 1, "hermitian": 1, "skew-symmetric": -1}


def read_mtx(source: Source) -> Content:
    """Read a Matrix Market file."""
    lines = source.read().decode("latin-1").splitlines()
    banner = lines[0].lower().split() if lines else []
    if len(banner) != 5 or banner[0] != "%%matrixmarket" or banner[2] not in ("coordinate", "array"):
        raise InputError(f"{source.path}: expected a Matrix Market file, which begins with %%MatrixMarket matrix")
    _, _, layout, field, symmetry = banner
    if field == "complex":
        raise InputError(f"{source.path}: expected real numbers, found complex ones; keep their modulus")
    if field not in _FIELDS or symmetry not in _SYMMETRIES or (field == "pattern" and layout == "array"):
        raise InputError(f"{source.path}: expected a Matrix Market file, found the kind {' '.join(banner[2:])}")
    body = [line for line in lines[1:] if line.strip() and not line.startswith("%")]
    sign = _SYMMETRIES[symmetry]
    try:
        size = [int(x) for x in body[0].split()]
        numbers = np.array(" ".join(body[1:]).split(), dtype=np.float64)
        if layout == "array" and not sign and len(size) == 2 and size[0] != size[1] and np.prod(size) == len(numbers):
            return points_content(source, numbers.reshape(size[1], size[0]).T)
        if layout == "array":
            return matrix_content(source, _array(size, numbers, sign))
        matrix = _coordinates(size, numbers, 2 if field == "pattern" else 3, sign)
    except (ValueError, IndexError, OverflowError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source.path}: expected a Matrix Market file ({one_line(error)})") from None
    if source.kind == "matrix":
        return matrix_content(source, matrix.toarray())
    return adjacency_content(source, matrix)


def _sides(size: list[int], numbers: int) -> int:
    """The number of rows of a square matrix, refused where the file is too short for it."""
    if size[0] != size[1] or size[0] < 1:
        raise ValueError(f"a square matrix is needed, found {size[0]} x {size[1]}")
    if size[0] > 16 * (numbers + 1000):
        raise ValueError(f"its header claims {size[0]} rows, found {numbers} numbers")
    return size[0]


def _array(size: list[int], numbers: np.ndarray, sign: int) -> np.ndarray:
    """Columns below each other; of symmetric matrices what lies on and below the diagonal."""
    n = _sides(size, len(numbers))
    count = n * n if sign == 0 else n * (n + sign) // 2
    if len(size) != 2 or len(numbers) != count:
        raise ValueError(f"its header claims {count} numbers, found {len(numbers)}")
    if sign == 0:
        return numbers.reshape(n, n).T.copy()
    matrix = np.zeros((n, n))
    rows, columns = np.triu_indices(n, 0 if sign > 0 else 1)  # the upper triangle by rows is the lower one by columns
    matrix[rows, columns] = sign * numbers
    matrix[columns, rows] = numbers
    return matrix


def _coordinates(size: list[int], numbers: np.ndarray, width: int, sign: int) -> sp.csr_array:
    """Row, column and entry, counted from 1; repeated entries are added up."""
    n = _sides(size, len(numbers))
    if len(size) != 3 or len(numbers) != width * size[2]:
        raise ValueError(f"its header claims {size[-1]} entries, found {len(numbers) / width:g}")
    table = numbers.reshape(-1, width)
    place = table[:, :2]
    if not ((place >= 1) & (place <= n) & (place == np.floor(place))).all():
        raise ValueError(f"an index is outside 1 to {n}")
    entries = np.ones(len(table)) if width == 2 else table[:, 2]
    rows, columns = place.T.astype(np.int64) - 1
    if sign:
        off = rows != columns
        rows, columns = np.r_[rows, columns[off]], np.r_[columns, rows[off]]
        entries = np.r_[entries, sign * entries[off]]
    return sp.csr_array(sp.coo_array((entries, (rows, columns)), shape=(n, n)))
