"""Every check at the front doors, and its message: which argument, what was found, what to do."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from gwfast.arrays import (
    Array,
    asks_for_gradient,
    device_of,
    from_numpy,
    is_array,
    is_numeric,
    item,
    library_and_device,
    namespace,
    needs_grad,
    on_meta,
    to_float64,
)
from gwfast.errors import InputError

_LARGEST, _SMALLEST = 1e152, 1e-152  # the squares stay inside float64; `make_request` brings costs near 1


def numeric(x: Any, name: str, like: Array = None) -> Array:
    """Return `x` as a float64 array, in the library of `like` where it is none yet, or say why it cannot be one."""
    if isinstance(x, str | bytes):
        raise InputError(f"{name}: expected an array of numbers, found the text {x!r}; load the file first")
    if x is None:
        raise InputError(f"{name}: expected an array of numbers, found None")
    if hasattr(x, "nnz") or str(getattr(x, "layout", "torch.strided")) != "torch.strided":
        raise InputError(f"{name}: expected a dense array, found a sparse one; pass its toarray() or to_dense()")
    if on_meta(x):
        raise InputError(f"{name}: expected an array with values, found a tensor on the meta device; load it first")
    if np.ma.is_masked(x):
        raise InputError(f"{name}: expected an array without gaps, found masked entries; drop or fill them")
    if isinstance(x, list | tuple) and any(needs_grad(entry) for entry in x):
        raise InputError(f"{name}: found a list of tensors that ask for a gradient; pass torch.stack({name})")
    try:
        array: Any = x if is_array(x) else np.asarray(x)
        kind = array.dtype
        if "complex" in str(kind):
            raise InputError(f"{name}: expected real numbers, found dtype {kind}; pass the real part or modulus")
        if not is_numeric(array):
            raise InputError(f"{name}: expected an array of numbers, found dtype {kind}; convert it with astype(float)")
        return to_float64(array) if is_array(x) else from_numpy(to_float64(array), like)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected an array of numbers, found {type(x).__name__} ({error})") from None


def table(x: Any, name: str) -> Any:
    """Return a pandas DataFrame as an array, its columns in the order of its rows where they have the same names."""
    if not (hasattr(x, "columns") and hasattr(x, "index") and hasattr(x, "to_numpy")):
        return x
    if x.shape[0] != x.shape[1] or not _names_points(x):
        raise InputError(
            f"{name}: expected a square table whose columns name the points of its rows, found a DataFrame of shape "
            f"{x.shape} with columns {', '.join(map(str, x.columns[:4]))}; make a graph of a list of edges with "
            f"networkx.from_pandas_edgelist, use gwfast.PointCloud({name}.to_numpy()) for coordinates, or pass its "
            "to_numpy()"
        )
    rows, columns = list(x.index), list(x.columns)
    if rows != columns and sorted(map(repr, rows)) == sorted(map(repr, columns)) and len(set(rows)) == len(rows):
        x = x[rows]
    return x.to_numpy()


def names(x: Any) -> tuple[Any, ...] | None:
    """What the index of a DataFrame, or a networkx graph, calls its rows; None for numbers in order and other input."""
    if hasattr(x, "columns") and hasattr(x, "index") and hasattr(x, "to_numpy"):
        found = tuple(x.index)
    elif hasattr(x, "nodes") and hasattr(x, "edges"):
        found = tuple(x.nodes)
    else:
        return None
    return None if found == tuple(range(len(found))) else found


def _names_points(x: Any) -> bool:
    """Whether the columns of a square DataFrame have the names of its rows: a matrix, and no table of edges."""
    return sorted(map(repr, x.index)) == sorted(map(repr, x.columns))


def same_library(**arrays: Any) -> Array:
    """Refuse arrays of different libraries or devices; returns one of them, or None where none is an array."""
    given = {name: library_and_device(x) for name, x in arrays.items() if is_array(x)}
    if len(set(given.values())) > 1:
        found = ", ".join(f"{name} is {lib} on {device}" for name, (lib, device) in given.items())
        raise InputError(f"arrays must come from one library and device; found {found}; convert one of them")
    return next((x for x in arrays.values() if is_array(x)), None)


def _extremes(x: Array, name: str) -> tuple[float, float]:
    """Least and largest entry, refused where any entry is NaN or infinite."""
    xp = namespace(x)
    # the two extremes are NaN or infinite where any entry is: two passes, no array of booleans
    low, high = item(xp.min(x)), item(xp.max(x))
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int(xp.sum(xp.astype(~xp.isfinite(x), xp.int64)))
        raise InputError(f"{name}: {bad} of {math.prod(x.shape)} entries are NaN or infinite; remove them")
    return low, high


def _range(extremes: tuple[float, float], name: str, power: float = 1) -> None:
    top = max(abs(x) for x in extremes)
    small, large = _SMALLEST ** (1 / power), _LARGEST ** (1 / power)
    if top > large or 0 < top < small:
        raise InputError(f"{name}: largest entry is {top:.3g}, outside [{small:g}, {large:g}]; rescale the costs")


def cost_matrix(C: Any, name: str) -> tuple[Array, tuple[float, float]]:
    """Check a cost matrix (n, n): numeric, square, not empty, finite; returned with its least and largest entry."""
    C = numeric(table(C, name), name)
    if C.ndim != 2 or C.shape[0] != C.shape[1]:
        coordinates = C.ndim == 2 and 0 < C.shape[1] < C.shape[0]
        hint = f"; for coordinates use gwfast.PointCloud({name})" if coordinates else ""
        raise InputError(f"{name}: expected a square matrix, found shape {tuple(C.shape)}{hint}")
    if C.shape[0] == 0:
        raise InputError(f"{name}: expected at least one point, found an empty matrix")
    extremes = _extremes(C, name)
    _range(extremes, name)
    return C, extremes


def matrix(X: Any, name: str, what: str, *, power: int = 1, like: Array = None) -> Array:
    """Check a finite, non-empty matrix of any shape; `what` says in words what it should be.

    Costs are of the size of its entries to the `power`.
    """
    X = numeric(X, name, like)
    if X.ndim != 2 or 0 in tuple(X.shape):
        raise InputError(f"{name}: expected {what}, found shape {tuple(X.shape)}")
    _range(_extremes(X, name), name, power)
    return X


def weights(p: Any, n: int, name: str, like: Array) -> Array:
    """Check node weights (n,) and normalise their sum to 1; None means uniform."""
    xp = namespace(like)
    if p is None:
        return xp.full((n,), 1.0 / n, dtype=xp.float64, device=device_of(like))
    p = numeric(p, name, like)
    if p.ndim != 1 or p.shape[0] != n:
        raise InputError(f"{name}: expected {n} weights, one a point, found shape {tuple(p.shape)}")
    least, _ = _extremes(p, name)
    if least < 0:
        raise InputError(f"{name}: expected weights >= 0, found {least:.3g}; a weight is a mass")
    total = item(xp.sum(p))
    if total == 0:
        raise InputError(f"{name}: expected weights that sum to 1, found all zero")
    if abs(total - 1) > 1e-6:
        raise InputError(f"{name}: expected weights that sum to 1, found {total:.6g}; pass {name} / {name}.sum()")
    return p / (xp.sum(p) if asks_for_gradient(p) else total)  # the gradient is that of the weights' shares


def feature_cost(M: Any, shape: tuple[int, int], alpha: Any, like: Array) -> tuple[Array | None, float]:
    """Check the fused term: M (n, m) and alpha in [0, 1], in POT's convention (1 - alpha) <M, T> + alpha GW."""
    if M is None:
        if alpha is not None:
            raise InputError(f"alpha: found {alpha!r} without M; alpha weighs the feature cost M, pass both")
        return None, 1.0
    M = numeric(M, "M", like)
    if tuple(M.shape) != shape:
        raise InputError(f"M: expected shape {shape}, points of C1 by points of C2, found {tuple(M.shape)}")
    _range(_extremes(M, "M"), "M", 0.5)  # a feature cost is of the size of a squared cost
    return M, fraction(0.5 if alpha is None else alpha, "alpha")


def fraction(x: Any, name: str) -> float:
    """Check a number in [0, 1]."""
    x = number(x, name)
    if not 0 <= x <= 1:
        raise InputError(f"{name}: expected a number between 0 and 1, found {x:g}")
    return x


def number(x: Any, name: str) -> float:
    """Check a finite real number; arrays and tensors without axes are numbers too."""
    number = item(numeric(x, name)) if is_array(x) and x.ndim == 0 and "bool" not in str(x.dtype) else x
    if isinstance(number, bool) or not isinstance(number, numbers.Real) or not math.isfinite(number):
        raise InputError(f"{name}: expected a finite number, found {x!r}")
    return float(number)


def positive(x: Any, name: str) -> float:
    """Check a finite number above 0."""
    x = number(x, name)
    if x <= 0:
        raise InputError(f"{name}: expected a number above 0, found {x:g}")
    return x


def count(x: Any, name: str, least: int = 1) -> int:
    """Check a whole number of at least `least`."""
    if isinstance(x, bool) or not isinstance(x, numbers.Integral) or x < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, found {x!r}")
    return int(x)


def choice(x: Any, options: tuple[str, ...], name: str) -> str:
    """Check a name out of a short list."""
    if not isinstance(x, str) or x not in options:
        raise InputError(f"{name}: expected one of {', '.join(options)}; found {x!r}")
    return x
