"""Entropic plans that are kept as potentials: entries are computed where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gwfast.arrays import Array, item, namespace, on_host
from gwfast.errors import InputError
from gwfast.plan import Plan

_HOST_TILE, _DEVICE_TILE = 1 << 18, 1 << 26  # entries of a plan at a time: a cache, a part of a device's memory


@dataclass(frozen=True, eq=False)
class Kernel:
    r"""The matrix :math:`E_{ik} = \exp(\langle u_i, v_k \rangle + f_i + g_k)`, in tiles of rows.

    Attributes
    ----------
    U, V : arrays (n, r), (m, r)
    f, g : arrays (n,), (m,)
    """

    U: Array
    V: Array
    f: Array
    g: Array

    def logits(self, part: slice) -> Array:
        """Exponents of some rows, without f."""
        return self.U[part] @ namespace(self.U).matrix_transpose(self.V) + self.g[None, :]

    def block(self, part: slice) -> Array:
        """Some rows."""
        return namespace(self.U).exp(self.logits(part) + self.f[part][:, None])

    def tiles(self) -> Iterator[slice]:
        """Parts of the rows that fit into fast memory."""
        n, m = self.U.shape[0], self.V.shape[0]
        step = max(1, (_HOST_TILE if on_host(self.U) else _DEVICE_TILE) // m)
        for start in range(0, n, step):
            yield slice(start, min(n, start + step))

    @property
    def T(self) -> Kernel:
        """The transposed matrix."""
        return Kernel(self.V, self.U, self.g, self.f)


class PotentialPlan(Plan):
    r"""A coupling :math:`T = \operatorname{diag}(a) E \operatorname{diag}(b) + r c' / \sum r`, in O((n + m) r) memory.

    `apply`, `block` and `marginals` form some rows at a time; `toarray` and ``numpy.asarray`` form the matrix.

    Attributes
    ----------
    shape : tuple of int
        (n, m).
    kernel : Kernel
    a, b : arrays (n,), (m,)
    rest : pair of arrays (n,), (m,)
        Masses r and c that the first term misses.
    sums : pair of arrays (n,), (m,), optional
        The marginals, where they were computed.
    """

    kernel: Kernel
    a: Array
    b: Array
    rest: tuple[Array, Array]
    sums: tuple[Array, Array] | None

    def __init__(
        self,
        kernel: Kernel,
        a: Array,
        b: Array,
        rest: tuple[Array, Array],
        sums: tuple[Array, Array] | None = None,
    ):
        shape = kernel.U.shape[0], kernel.V.shape[0]
        given = {"shape": shape, "kernel": kernel, "a": a, "b": b, "rest": rest, "sums": sums}
        for name, value in {**given, "rows": None, "cols": None, "mass": None}.items():
            object.__setattr__(self, name, value)

    @property
    def matrix(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The plan (n, m), O(nm) memory."""
        return self.block(0, self.shape[0])

    @property
    def is_dense(self) -> bool:
        """Whether every place may carry mass."""
        return True

    @property
    def is_stored(self) -> bool:
        """Whether products read entries, instead of computing them."""
        return False

    def block(self, start: int, stop: int) -> Array:
        """Rows `start` to `stop` of the plan, (stop - start, m)."""
        if not 0 <= start <= stop <= self.shape[0]:
            raise InputError(f"block: expected rows within 0 and {self.shape[0]}, found {start} to {stop}")
        part = slice(start, stop)
        entries = self.a[part][:, None] * self.kernel.block(part) * self.b[None, :]
        return entries + self._spread[part][:, None] * self.rest[1][None, :]

    def toarray(self) -> Array:
        return self.matrix

    def apply(self, x: Array) -> Array:
        """Return T @ x (n,) or (n, k) for x (m,) or (m, k), O(nm) time."""
        xp = namespace(self.b)
        W = x[:, None] if x.ndim == 1 else x
        weighted = self.b[:, None] * W
        image = xp.concat([self.a[t][:, None] * (self.kernel.block(t) @ weighted) for t in self.kernel.tiles()])
        image = image + self._spread[:, None] * (xp.matrix_transpose(W) @ self.rest[1])[None, :]
        return image[:, 0] if x.ndim == 1 else image

    def marginals(self) -> tuple[Array, Array]:
        if self.sums is not None:
            return self.sums
        one = namespace(self.b).ones_like(self.b)
        return self.apply(one), self.T.apply(namespace(self.a).ones_like(self.a))

    @property
    def permutation(self) -> None:
        return None

    @property
    def T(self) -> PotentialPlan:
        r, c = self.rest
        return PotentialPlan(self.kernel.T, self.b, self.a, (c, r), self.sums and self.sums[::-1])

    def lifted(self, rows: Array | None, cols: Array | None, shape: tuple[int, int]) -> PotentialPlan:
        if rows is None and cols is None:
            return self
        k, (r, c) = self.kernel, self.rest
        U, f, a, r = (_placed(z, rows, shape[0]) for z in (k.U, k.f, self.a, r))
        V, g, b, c = (_placed(z, cols, shape[1]) for z in (k.V, k.g, self.b, c))
        return PotentialPlan(Kernel(U, V, f, g), a, b, (r, c))

    @property
    def _spread(self) -> Array:
        r = self.rest[0]
        total = item(namespace(r).sum(r))
        return r / total if total > 0 else r * 0.0

    def __repr__(self) -> str:
        n, m = self.shape
        return f"PotentialPlan({n} x {m}, computed where asked)"


def _placed(z: Array, index: Array | None, size: int) -> Array:
    """The rows of z at some places of a larger array; zeros elsewhere."""
    if index is None:
        return z
    xp = namespace(z)
    out = xp.zeros((size, *z.shape[1:]), dtype=z.dtype, device=z.device)
    out[index] = z
    return out
