r"""The objective of a plan between two sets of points, through moments of its atoms: O(N d^2), without cancellation.

Let u be the first points, v = R y the second ones under an orthogonal R, and for every atom of the plan D = u - v and
S = u + v.  Then, with E over the atoms and :math:`A = E[D S']`,

.. math:: u_i \cdot u_j - v_i \cdot v_j = \tfrac12 (D_i \cdot S_j + S_i \cdot D_j), \qquad
          E (D_i \cdot S_j + S_i \cdot D_j)^2 = 2 \langle E D D', E S S' \rangle + 2 \operatorname{tr} A A,

and :math:`|u_i - u_j|^2 - |v_i - v_j|^2 = \alpha_i + \alpha_j - (D_i \cdot S_j + S_i \cdot D_j)` with
:math:`\alpha = D \cdot S`.  Where the points are copies of each other, R brings D near 0, and nothing large is
subtracted.  Page `feasible-plan`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwfast.arrays import Array, detach, namespace, to_numpy
from gwfast.arrays.precision import EPS, TINY
from gwfast.plan import Plan
from gwfast.spaces.form import points_of
from gwfast.spaces.gram import Gram
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.space import Space

_CHUNK = 4096  # atoms of a partial sum: rounding grows with a chunk and with their number, not with their product
_WIDEST = 128  # coordinates up to which d^2 numbers an atom are fewer than its costs


@dataclass(frozen=True)
class PointsValue:
    """Value of the structure term, a bound on its rounding, and one on the L2 error of the costs it stands for."""

    value: float
    rounding: float
    doubt: float


def takes_points(x: Space, y: Space) -> bool:
    """Whether both spaces are squared Euclidean clouds, or both dense Gram spaces, of few coordinates."""
    if isinstance(x, PointCloud) and isinstance(y, PointCloud):
        return x.metric == y.metric == "sqeuclidean" and max(x.points.shape[1], y.points.shape[1]) <= _WIDEST
    if isinstance(x, Gram) and isinstance(y, Gram):
        return not (x.is_sparse or y.is_sparse) and max(x.factor.shape[0], y.factor.shape[0]) <= _WIDEST
    return False


def points_value(x: Space, y: Space, plan: Plan) -> PointsValue:
    """Evaluate a plan of atoms between spaces that `takes_points`; O(N d^2) time, O(n d + N) memory."""
    cloud = isinstance(x, PointCloud)
    rows, cols, mass = (to_numpy(a) for a in plan.atoms())
    u, v = _padded(_centred(x, cloud), _centred(y, cloud))
    turn = _alignment(u, v, rows, cols, mass)
    v = v @ turn.T
    sums = _Sums.zeros(u.shape[1])
    for start in range(0, len(mass), _CHUNK):
        part = slice(start, start + _CHUNK)
        sums.add(u[rows[part]], v[cols[part]], mass[part])
    value = sums.of_cloud() if cloud else sums.of_gram()
    d, chunks = u.shape[1], -(-len(mass) // _CHUNK)
    gamma = (min(len(mass), _CHUNK) + chunks + 16 * d + 64) * EPS
    rounding = 32 * gamma * (sums.mixed + sums.dd.trace() * sums.ss.trace()) + TINY
    # v is a product with a matrix that is orthogonal to rounding
    bent = float(np.linalg.norm(turn.T @ turn - np.eye(d))) + (2 * d**1.5 + d * d) * EPS
    if cloud:  # a centred coordinate has one rounding; |x_i - x_j|^2 <= (|x_i| + |x_j|)^2
        doubt = 4.1 * (2 * EPS * sums.fourth[0] ** 0.5 + (2 * EPS + bent) * sums.fourth[1] ** 0.5)
    else:
        doubt = 1.1 * bent * sums.square
    return PointsValue(max(float(value), 0.0), rounding, doubt + TINY * (doubt > 0))


def taped_points(x: Space, y: Space, plan: Plan) -> Array:
    """The value at a fixed plan of atoms, as differentiable operations on the points: O(N d^2), for gradients."""
    ends = []
    for space, index in ((x, plan.rows), (y, plan.cols)):
        cloud = isinstance(space, PointCloud)
        z = space.points if cloud else namespace(space.like).matrix_transpose(space.factor)  # pyright: ignore
        if isinstance(space, PointCloud):
            z = z - _near_mean(z)
        ends.append(namespace(z).take(z, index, axis=0))
    u, v, w = *ends, plan.mass
    xp = namespace(w)
    weighted_u, weighted_v = u * w[:, None], v * w[:, None]
    turned = xp.matrix_transpose
    inner = xp.sum((turned(weighted_u) @ u) ** 2) + xp.sum((turned(weighted_v) @ v) ** 2)
    inner = inner - 2 * xp.sum((turned(weighted_u) @ v) ** 2)
    if not isinstance(x, PointCloud):
        return inner
    a = xp.sum(u * u, axis=1) - xp.sum(v * v, axis=1)
    mean_u, mean_v = xp.sum(weighted_u, axis=0), xp.sum(weighted_v, axis=0)
    crossed = xp.sum(w * a * (u @ mean_u - v @ mean_v))
    return 2 * xp.sum(w) * xp.sum(w * a * a) + 2 * xp.sum(w * a) ** 2 + 4 * inner - 8 * crossed


def _near_mean(points: Array) -> Array:
    """A vector near the mean of points, which no distance sees; cut from the tape."""
    return detach(namespace(points).mean(points, axis=0))


def _centred(space: Space, cloud: bool) -> np.ndarray:
    """Points; those of a cloud less a vector near their mean, which no distance sees."""
    points = points_of(space)
    assert points is not None  # takes_points
    if not cloud:
        return points
    mean = points.mean(axis=0)
    return points - (mean + (points - mean).mean(axis=0))


def _padded(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = max(u.shape[1], v.shape[1])
    return tuple(np.pad(z, ((0, 0), (0, d - z.shape[1]))) for z in (u, v))  # pyright: ignore[reportReturnType]


def _alignment(u: np.ndarray, v: np.ndarray, rows: np.ndarray, cols: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The orthogonal matrix that brings the second points nearest to the first (Procrustes); any one is right."""
    cross = np.zeros((u.shape[1], u.shape[1]))
    for start in range(0, len(mass), _CHUNK):
        part = slice(start, start + _CHUNK)
        cross += (u[rows[part]].T * mass[part]) @ v[cols[part]]
    if np.array_equal(cross, cross.T) and (np.linalg.eigvalsh(cross) >= 0).all():
        return np.eye(len(cross))
    left, _, right = np.linalg.svd(cross)
    return left @ right


@dataclass
class _Sums:
    """Moments of D and S over the atoms."""

    dd: np.ndarray  # E D D'
    ss: np.ndarray  # E S S'
    ds: np.ndarray  # E D S'
    d: np.ndarray  # E D
    s: np.ndarray  # E S
    ad: np.ndarray  # E (D.S) D
    as_: np.ndarray  # E (D.S) S
    a: float = 0.0  # E D.S
    aa: float = 0.0  # E (D.S)^2
    total: float = 0.0
    mixed: float = 0.0  # E |D|^2 |S|^2
    square: float = 0.0  # E |v|^2
    fourth: tuple[float, float] = (0.0, 0.0)  # E |u|^4, E |v|^4

    @classmethod
    def zeros(cls, d: int) -> _Sums:
        dd, ss, ds = (np.zeros((d, d)) for _ in range(3))
        first, second, ad, as_ = (np.zeros(d) for _ in range(4))
        return cls(dd, ss, ds, first, second, ad, as_)

    def add(self, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> None:
        """Add atoms: ends (N, d) and mass (N,)."""
        D, S = u - v, u + v
        a = np.einsum("ij,ij->i", D, S)
        wd, ws = D * w[:, None], S * w[:, None]
        self.dd += wd.T @ D
        self.ss += ws.T @ S
        self.ds += wd.T @ S
        self.d += wd.sum(axis=0)
        self.s += ws.sum(axis=0)
        self.ad += a @ wd
        self.as_ += a @ ws
        self.a += float(w @ a)
        self.aa += float(w @ (a * a))
        self.total += float(w.sum())
        norm_u, norm_v = np.einsum("ij,ij->i", u, u), np.einsum("ij,ij->i", v, v)
        self.mixed += float(w @ (np.einsum("ij,ij->i", D, D) * np.einsum("ij,ij->i", S, S)))
        self.square += float(w @ norm_v)
        self.fourth = (self.fourth[0] + float(w @ norm_u**2), self.fourth[1] + float(w @ norm_v**2))

    def of_gram(self) -> float:
        """E (u.u' - v.v')^2."""
        return float((self.dd * self.ss).sum() + (self.ds * self.ds.T).sum()) / 2

    def of_cloud(self) -> float:
        """E (|u - u'|^2 - |v - v'|^2)^2."""
        crossed = float(self.ad @ self.s + self.as_ @ self.d)
        return 2 * self.total * self.aa + 2 * self.a**2 + 4 * self.of_gram() - 4 * crossed
