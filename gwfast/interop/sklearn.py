"""Estimators for scikit-learn on lists of spaces: distances, neighbours, a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from gwfast import checks
from gwfast.errors import InputError, MissingPackageError
from gwfast.many.members import listed
from gwfast.many.table import pairwise_gw

try:
    from scipy.sparse import csr_array
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError:  # pragma: no cover
    raise MissingPackageError('gwfast.interop.sklearn needs scikit-learn: pip install "gwfast-ot[sklearn]"') from None


class _OnSpaces(BaseEstimator):
    """What is fitted on a list of spaces and keeps them."""

    quality: str
    executor: Any

    def fit(self, X: Any, y: Any = None) -> Any:
        """Keep the spaces X, a list of N arrays (n, n), Space or networkx graphs; `y` is not used."""
        spaces = listed(X, "X")
        if not spaces:
            raise InputError("X: expected at least one space, found none")
        self.spaces_ = spaces
        self.n_spaces_ = len(spaces)
        return self

    def _distances(self, X: Any) -> np.ndarray:
        """Distances (len(X), N) to the spaces fitted, each pair once."""
        check_is_fitted(self)
        given = listed(X, "X")
        if not given:
            return np.zeros((0, self.n_spaces_))
        ours = {id(space): k for k, space in enumerate(self.spaces_)}  # objects seen at fit are not packed twice
        spaces, row = list(self.spaces_), []
        for space in given:
            row.append(ours.setdefault(id(space), len(spaces)))
            if row[-1] == len(spaces):
                spaces.append(space)
        if len(spaces) == 1:
            return np.zeros((len(given), 1))
        i, j = np.repeat(row, self.n_spaces_), np.tile(np.arange(self.n_spaces_), len(row))
        low, high = np.minimum(i, j), np.maximum(i, j)
        pairs, place = np.unique(np.stack([low, high], axis=1)[low != high], axis=0, return_inverse=True)
        found = np.zeros(len(i))
        try:
            table = pairwise_gw(spaces, quality=self.quality, pairs=pairs, executor=self.executor, progress=False)
        except InputError as error:
            raise InputError(f"X: {error}") from None
        found[low != high] = np.sqrt(np.maximum(table.values, 0))[place.ravel()]
        return found.reshape(len(row), self.n_spaces_)


class GWDistance(TransformerMixin, _OnSpaces):
    r"""Transform spaces to their Gromov-Wasserstein distances from the spaces of the training set.

    .. math:: d(X, Y) = \min_{T \in \Pi(p, q)} \Big( \sum_{ijkl} (C_{1,ij} - C_{2,kl})^2 \, T_{ik} T_{jl} \Big)^{1/2}

    Parameters
    ----------
    quality : {"sorted", "fast", "default", "best"}
        As in `pairwise_gw`.
    executor : {"threads", "processes", "dask", "mpi"} or concurrent.futures.Executor, optional
        As in `pairwise_gw`.

    Attributes
    ----------
    spaces_ : list of N spaces

    Notes
    -----
    `fit` computes nothing; `transform` solves each pair once, and none of a space with itself.  Estimators with
    ``metric="precomputed"`` take what it returns.

    Examples
    --------
    >>> import networkx as nx
    >>> from gwfast.interop.sklearn import GWDistance
    >>> GWDistance().fit_transform([nx.path_graph(3), nx.path_graph(3), nx.cycle_graph(3)]).round(2)
    array([[0.  , 0.  , 0.47],
           [0.  , 0.  , 0.47],
           [0.47, 0.47, 0.  ]])
    """

    def __init__(self, quality: str = "default", executor: Any = None):
        self.quality = quality
        self.executor = executor

    def transform(self, X: Any) -> np.ndarray:
        """Return the distances (len(X), N) of spaces X from those fitted."""
        return self._distances(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns: distances from space 0, 1, and so on."""
        check_is_fitted(self)
        return np.array([f"gwdistance{k}" for k in range(self.n_spaces_)], dtype=object)


class GWKernel(TransformerMixin, _OnSpaces):
    r"""Transform spaces to their kernel values with the spaces of the training set.

    .. math:: k(X, Y) = \exp(-\gamma \, d(X, Y)^2)

    Parameters
    ----------
    gamma : float or "scale"
        "scale": one over the median of the squared distances within the training set, above 0.
    quality, executor
        As in `GWDistance`.

    Attributes
    ----------
    spaces_ : list of N spaces
    gamma_ : float

    Notes
    -----
    For ``SVC(kernel="precomputed")``.  The kernel need not be positive definite: squared GW distances are not of
    negative type in general, and values are those of the plans found.  SVC accepts it and finds a stationary point;
    for methods that need a definite kernel clip the spectrum first.

    Examples
    --------
    >>> import networkx as nx
    >>> from gwfast.interop.sklearn import GWKernel
    >>> GWKernel(gamma=1.0).fit_transform([nx.path_graph(3), nx.cycle_graph(3)]).round(2)
    array([[1. , 0.8],
           [0.8, 1. ]])
    """

    def __init__(self, gamma: float | str = "scale", quality: str = "default", executor: Any = None):
        self.gamma = gamma
        self.quality = quality
        self.executor = executor

    def fit(self, X: Any, y: Any = None) -> GWKernel:
        """Keep the spaces X, and choose gamma; `y` is not used."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Keep the spaces X, choose gamma, and return the kernel (N, N)."""
        gamma = self.gamma
        if gamma != "scale":
            gamma = checks.positive(gamma, "gamma")
        super().fit(X, y)
        square = self._distances(self.spaces_) ** 2
        if gamma == "scale":
            apart = square[square > 0]
            gamma = 1 / float(np.median(apart)) if len(apart) else 1.0
        self.gamma_ = float(gamma)
        return np.exp(-self.gamma_ * square)

    def transform(self, X: Any) -> np.ndarray:
        """Return the kernel (len(X), N) of spaces X with those fitted."""
        check_is_fitted(self)
        return np.exp(-self.gamma_ * self._distances(X) ** 2)


class GWNeighbors(_OnSpaces):
    """Nearest spaces of the training set by Gromov-Wasserstein distance.

    Parameters
    ----------
    n_neighbors : int
    quality, executor
        As in `GWDistance`.

    Attributes
    ----------
    spaces_ : list of N spaces

    Notes
    -----
    Most pairs are ruled out by their lower bounds, see `gwfast.neighbours`.

    Examples
    --------
    >>> import networkx as nx
    >>> from gwfast.interop.sklearn import GWNeighbors
    >>> found = GWNeighbors(n_neighbors=1).fit([nx.path_graph(n) for n in (3, 6, 9)])
    >>> found.kneighbors([nx.path_graph(7)], return_distance=False)
    array([[1]])
    """

    def __init__(self, n_neighbors: int = 5, quality: str = "default", executor: Any = None):
        self.n_neighbors = n_neighbors
        self.quality = quality
        self.executor = executor

    def kneighbors(self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """Return distances and positions (len(X), k) of the nearest spaces fitted, nearest first.

        Parameters
        ----------
        X : list of spaces, optional
            The spaces fitted by default; none is then its own neighbour.
        n_neighbors : int, optional
            `n_neighbors` of the estimator by default.
        return_distance : bool
            With False the positions alone.
        """
        from gwfast.many.neighbours import nearest, neighbours

        check_is_fitted(self)
        k = checks.count(self.n_neighbors if n_neighbors is None else n_neighbors, "n_neighbors")
        most = self.n_spaces_ - (X is None)
        if k > most:
            raise InputError(f"n_neighbors: expected at most {most}, the spaces there are, found {k}")
        if X is None:
            found = neighbours(self.spaces_, k, quality=self.quality, executor=self.executor)
            value, index = found.value, found.index
        else:
            each = [nearest(x, self.spaces_, k, quality=self.quality, executor=self.executor) for x in listed(X, "X")]
            value = np.array([one.value for one in each]).reshape(-1, k)
            index = np.array([one.index for one in each], dtype=np.int64).reshape(-1, k)
        return (np.sqrt(np.maximum(value, 0)), index) if return_distance else index

    def kneighbors_graph(self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity") -> csr_array:
        """Return the graph (len(X), N) of the nearest spaces as a sparse array, of ones or of distances.

        Parameters
        ----------
        X, n_neighbors
            As in `kneighbors`.
        mode : {"connectivity", "distance"}
        """
        checks.choice(mode, ("connectivity", "distance"), "mode")
        distance, index = self.kneighbors(X, n_neighbors)
        count, k = index.shape
        data = np.ones(count * k) if mode == "connectivity" else distance.ravel()
        return csr_array((data, index.ravel(), np.arange(0, count * k + 1, k)), shape=(count, self.n_spaces_))
