"""Row against row: the third lower bound of GW between two co-activation graphs, as a loss with a gradient.

Shapes: B batch, L tokens, V vocabulary, K kept logits, N graph nodes.
"""

from __future__ import annotations

from typing import Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gwfast_llm.terms.graph import Nodes

Distance = Literal["l1", "squared"]


def edges_of(h: Tensor, ids: Tensor, length: Tensor, nodes: Nodes) -> Tensor:
    """Edges C = (1/L) sum_t h_t h_t' of one graph among the nodes in use; every other edge is 0.

    Parameters
    ----------
    h, ids : Tensor (L, K)
        Node weights, zero on excluded positions, and token ids of one example.
    length : Tensor ()
        Number of positions that count.
    nodes : {"rank", "vocab"}
        One node per rank among the kept, or per token.

    Returns
    -------
    Tensor (N, N)
        N = K, or the number of different tokens, at most L K.
    """
    if nodes == "vocab":
        used, column = ids.unique(return_inverse=True)
        h = h.new_zeros(len(h), len(used)).scatter_add(1, column.reshape(ids.shape), h)
    return h.T @ h / length.clamp_min(1)


def rows_distance(first: Tensor, second: Tensor, nodes: int, distance: Distance) -> Tensor:
    r"""Least distance between the sorted rows of two graphs, over all ways to match their nodes one to one.

    .. math:: \min_\sigma \sum_i \sum_j |C^\uparrow_{ij} - D^\uparrow_{\sigma(i) j}|^p, \qquad p = 1, 2

    with every row sorted on its own.  For p = 2, divided by the squared number of nodes, it is the third lower bound
    of GW between the graphs with uniform weights, and at least the bound of the sorted row means.

    Parameters
    ----------
    first, second : Tensor (N, N), (N', N')
        Symmetric edges among the nodes in use.
    nodes : int
        Nodes of the larger of the whole graphs; those not in use have edges 0 and are added as far as they matter.
    distance : {"l1", "squared"}
        p = 1 or 2.

    Returns
    -------
    Tensor ()
        Differentiable almost everywhere: the gradient is that of the best match, held fixed.

    Notes
    -----
    Cost: O(N^3) for the distances of all pairs of rows and one linear assignment, on the host; N of a few hundred is
    meant.

    Examples
    --------
    The same graph with its nodes renamed:

    >>> c = torch.tensor([[1.0, 2.0, 0.0], [2.0, 3.0, 4.0], [0.0, 4.0, 5.0]]); order = torch.tensor([2, 0, 1])
    >>> rows_distance(c, c[order][:, order], 3, "squared").item()
    0.0
    """
    # nodes of weight 0 beyond the number of the other graph's nodes match one another and add 0
    size = max(len(first), len(second), min(nodes, len(first) + len(second)))
    a, b = (_widened(c, size).sort(1)[0] for c in (first, second))
    with torch.no_grad():
        x, y = a.double(), b.double()
        gaps = torch.cdist(x, y, p=1) if distance == "l1" else _squared(x, y)
        _, match = linear_sum_assignment(gaps.cpu().numpy())
    gap = a - b[torch.from_numpy(match).to(b.device)]
    return (gap.abs() if distance == "l1" else gap.pow(2)).sum()


def _widened(edges: Tensor, size: int) -> Tensor:
    more = size - len(edges)
    return torch.nn.functional.pad(edges, (0, more, 0, more))


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return a.pow(2).sum(1)[:, None] + b.pow(2).sum(1) - 2 * a @ b.T
