"""Transport plans: a few atoms, a permutation or a dense matrix behind one face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gwfast.arrays import Array, atoms_to_dense, from_numpy, is_array, namespace, nonzero_atoms, sum_by_index, to_numpy
from gwfast.errors import InputError


@dataclass(frozen=True, eq=False)
class Plan:
    """A transport plan (coupling) between n and m points.

    Either a list of atoms, mass ``mass[s]`` from point ``rows[s]`` to point ``cols[s]``, or a dense matrix.
    Solvers return it; ``numpy.asarray(plan)``, `toarray`, `marginals`, `apply` and `permutation` read it.

    Attributes
    ----------
    shape : tuple of int
        (n, m).
    rows, cols : integer arrays (N,), or None for a dense plan
        Ends of each atom.
    mass : array (N,), or None for a dense plan
        Mass of each atom; the total is 1.
    matrix : array (n, m) or None
        The dense plan.
    labels : pair or None
        Names (n,) and (m,) of the points, either None where they have none: of rows of a DataFrame, of cells.

    Raises
    ------
    InputError
        Neither three arrays of one length nor a matrix of the shape.

    Examples
    --------
    >>> import numpy as np, gwfast
    >>> plan = gwfast.Plan((2, 2), np.array([0, 1]), np.array([1, 0]), np.array([0.5, 0.5]))
    >>> plan.permutation, plan.toarray()
    (array([1, 0]), array([[0. , 0.5],
           [0.5, 0. ]]))
    """

    shape: tuple[int, int]
    rows: Array = None
    cols: Array = None
    mass: Array = None
    matrix: Array = None
    labels: tuple[Sequence[Any] | None, Sequence[Any] | None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = (self.rows, self.cols, self.mass) if self.matrix is None else (self.matrix,)
        if not all(is_array(part) for part in parts):
            kinds = ", ".join(type(part).__name__ for part in parts)
            raise InputError(f"Plan: expected three arrays, rows, cols and mass, or one, matrix; found {kinds}")
        expected = (self.mass.shape,) * 3 if self.matrix is None else (self.shape,)
        found = tuple(tuple(part.shape) for part in parts)
        if found != tuple(tuple(shape) for shape in expected):
            raise InputError(f"Plan: expected arrays of shape {expected[0]}, found {', '.join(map(str, found))}")

    @classmethod
    def from_permutation(cls, target: Array, weights: Array) -> Plan:
        """Return the plan that sends all mass `weights` (n,) of point i to point ``target[i]``."""
        xp = namespace(weights)
        n = weights.shape[0]
        device = getattr(weights, "device", None) if not isinstance(weights, np.ndarray) else None
        return cls((n, n), xp.arange(n, device=device), target, weights)

    @property
    def is_dense(self) -> bool:
        """Whether the plan is stored as a matrix."""
        return self.matrix is not None

    @property
    def is_stored(self) -> bool:
        """Whether the entries are in memory."""
        return True

    def atoms(self) -> tuple[Array, Array, Array]:
        """Return rows, columns and mass (N,) of the places that carry mass."""
        if self.matrix is not None:
            return nonzero_atoms(self.matrix)
        return self.rows, self.cols, self.mass

    def toarray(self) -> Array:
        """Return the plan as a dense matrix (n, m), O(nm) memory."""
        if self.matrix is not None:
            return self.matrix
        return atoms_to_dense(self.rows, self.cols, self.mass, self.shape)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(to_numpy(self.toarray()), dtype=dtype, copy=True if copy is None else copy)

    def marginals(self) -> tuple[Array, Array]:
        """Return the masses (n,) and (m,) that leave each first and reach each second point."""
        if self.matrix is not None:
            xp = namespace(self.matrix)
            return xp.sum(self.matrix, axis=1), xp.sum(self.matrix, axis=0)
        n, m = self.shape
        return sum_by_index(self.rows, self.mass, n), sum_by_index(self.cols, self.mass, m)

    def apply(self, x: Array) -> Array:
        """Return T @ x (n,) or (n, d) for x (m,) or (m, d); divide by the first weights for a barycentric map."""
        if self.matrix is not None:
            return self.matrix @ x
        xp = namespace(self.mass)
        picked = xp.take(x, self.cols, axis=0)
        if picked.ndim == 1:
            return sum_by_index(self.rows, self.mass * picked, self.shape[0])
        columns = [sum_by_index(self.rows, self.mass * picked[:, j], self.shape[0]) for j in range(picked.shape[1])]
        return xp.stack(columns, axis=1)

    @property
    def permutation(self) -> Array | None:
        """Return the point (n,) that each first point is matched to, or None where the plan is no permutation."""
        n, m = self.shape
        rows, cols, mass = (to_numpy(a) for a in self.atoms())
        keep = mass > 0
        rows, cols = rows[keep], cols[keep]
        if n != m or len(rows) != n or len(set(rows.tolist())) != n or len(set(cols.tolist())) != n:
            return None
        target = np.empty(n, dtype=np.int64)
        target[rows] = cols
        return from_numpy(target, self.mass if self.matrix is None else self.matrix)

    @property
    def T(self) -> Plan:
        """The same plan read from the second points to the first."""
        matrix = None if self.matrix is None else namespace(self.matrix).matrix_transpose(self.matrix)
        labels = None if self.labels is None else (self.labels[1], self.labels[0])
        return Plan((self.shape[1], self.shape[0]), self.cols, self.rows, self.mass, matrix, labels)

    def to_frame(self, *, long: bool = False) -> Any:
        """The plan as a pandas DataFrame whose rows and columns have the names of the points, or are numbered.

        Parameters
        ----------
        long : bool
            One row for each atom, with the columns "first", "second" and "mass", instead of the matrix.
        """
        import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

        given = (None, None) if self.labels is None else self.labels
        first, second = (
            pd.RangeIndex(n) if own is None else pd.Index(own) for own, n in zip(given, self.shape, strict=True)
        )
        if not long:
            return pd.DataFrame(np.asarray(self), index=first, columns=second)
        i, k, mass = (to_numpy(part) for part in self.atoms())
        return pd.DataFrame({"first": first[i], "second": second[k], "mass": mass})

    def lifted(self, rows: Array | None, cols: Array | None, shape: tuple[int, int]) -> Plan:
        """Return the plan on larger point sets, of which this one joins the points `rows` and `cols` (or all)."""
        if rows is None and cols is None:
            return self
        xp = namespace(self.mass if self.matrix is None else self.matrix)
        i, k, w = self.atoms()
        i = i if rows is None else xp.take(rows, i, axis=0)
        k = k if cols is None else xp.take(cols, k, axis=0)
        lifted = Plan(shape, i, k, w)
        return Plan(shape, matrix=lifted.toarray()) if self.is_dense else lifted

    def __repr__(self) -> str:
        n, m = self.shape
        kind = "dense" if self.is_dense else f"{self.mass.shape[0]} atoms"
        return f"Plan({n} x {m}, {kind})"
