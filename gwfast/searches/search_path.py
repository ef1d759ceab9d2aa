"""One depth-first search of the permutation tree, and how it gives half of its open nodes to another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gwfast.kernels.hahn_grant import Tree


@dataclass(eq=False)
class SearchPath:
    """Where a search stands: for each depth the problem of its node and the children still to be visited.

    Attributes
    ----------
    costs : tuple of arrays
        What a node inherits.  Costs of pairs of pairs, all depths in one array, and costs of pairs (n, n * n); or, for
        the engine of Gilmore and Lawler, linear costs (n, n, n).
    offset : integer array
        Where each depth starts in the first of `costs`; empty for the other engine.
    fixed : array (n,)
        Cost of the pairs fixed so far, of the engine of Gilmore and Lawler.
    rows, cols : integer arrays (n, n + 1)
        Points left at each depth; the last entry is the pair that its child fixes.
    lower : array (n,)
        Bound of the node at each depth.
    kids, kid_bounds, counts, at : arrays
        Children of each depth with their bounds, how many, and the next to visit.
    state : integer array (3,)
        Depth, whether its node is still to be bounded, nodes so far.
    best : array (n + 1,)
        Best permutation known and its value.
    """

    costs: tuple[np.ndarray, ...]
    offset: np.ndarray
    fixed: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    lower: np.ndarray
    kids: np.ndarray
    kid_bounds: np.ndarray
    counts: np.ndarray
    at: np.ndarray
    state: np.ndarray
    best: np.ndarray

    @property
    def tree(self) -> Tree:
        """What both engines share."""
        return Tree(
            self.rows,
            self.cols,
            self.lower,
            self.kids,
            self.kid_bounds,
            self.counts,
            self.at,
            self.best,
            self.state,
        )

    def open_bound(self) -> float:
        """Least bound of the nodes not yet explored."""
        low, depth = math.inf, int(self.state[0])
        if self.state[1] == 1:
            low = self.lower[depth]
        for d in range(depth + 1):
            if d < depth or self.state[1] == 0:
                waiting = self.kid_bounds[d, self.at[d] : self.counts[d]]
                low = min(low, float(waiting.min(initial=math.inf)))
        return low

    def halved(self) -> SearchPath | None:
        """Give away every other child waiting at the least depth where there are some; None where there is nothing.

        What stays and what is returned are searches of their own that share no child.
        """
        depth, bounded = int(self.state[0]), self.state[1] == 0
        for d in range(depth + 1 if bounded else depth):
            waiting = np.arange(self.at[d], self.counts[d])
            given, kept = waiting[0::2], waiting[1::2]
            if len(given) and (d < depth or len(kept)):
                other = self._from(d, given)
                self._keep(d, kept)
                return other
        return None

    def _keep(self, d: int, children: np.ndarray) -> None:
        self.kids[d, : len(children)] = self.kids[d, children]
        self.kid_bounds[d, : len(children)] = self.kid_bounds[d, children]
        self.at[d], self.counts[d] = 0, len(children)

    def _from(self, d: int, children: np.ndarray) -> SearchPath:
        """A search of some children at depth d, with arrays of its own."""
        fresh = [np.empty_like(cost) for cost in self.costs]
        if len(self.offset):
            level = slice(self.offset[d], self.offset[d + 1])
            fresh[0][level], fresh[1][d] = self.costs[0][level], self.costs[1][d]
        else:
            fresh[0][: d + 1] = self.costs[0][: d + 1]
        other = replace(
            self,
            costs=tuple(fresh),
            fixed=self.fixed.copy(),
            rows=self.rows.copy(),
            cols=self.cols.copy(),
            lower=self.lower.copy(),
            kids=self.kids.copy(),
            kid_bounds=self.kid_bounds.copy(),
            counts=self.counts.copy(),
            at=self.at.copy(),
            state=np.array([d, 0, 0]),
            best=self.best.copy(),
        )
        other.counts[:d] = other.at[:d] = 0
        other._keep(d, children)
        return other
