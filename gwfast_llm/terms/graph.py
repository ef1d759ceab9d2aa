"""Co-activation graphs of logits: node features without the graph, and the certified interval between two graphs.

A graph has one node per vocabulary entry (or per rank among the K largest) and the edges
C = (1/L) sum_t h_t h_t', where h_t are the node weights at position t of an answer.  Neither loss nor bound needs
C itself: its row sums are (1/L) sum_t (h_t'1) h_t, and `gwfast.Gram` works on the factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

import gwfast
from gwfast_llm.models.logits import TopK

Nodes = Literal["rank", "vocab"]
Weights = Literal["log_probs", "logits", "softmax", "zscore"]
NodeFeature = Literal["mean", "mean_std", "spectrum"]


def node_weights(kept: TopK, mask: Tensor, weights: Weights) -> Tensor:
    """Weights h_t of the kept channels, zero on excluded positions and for channels that are dropped.

    Parameters
    ----------
    kept : TopK of (B, L, K)
        Kept logits, largest first; minus infinity for channels that are dropped.
    mask : Tensor (B, L) of bool
        Answer positions.
    weights : {"log_probs", "logits", "softmax", "zscore"}
        Log-probabilities (logits less their log-sum-exp over the vocabulary), raw logits, the softmax over the kept
        ones, or the kept ones less their mean, over their standard deviation.  Only raw logits change with a constant
        that is added to every logit of a position, which changes no probability.

    Returns
    -------
    Tensor (B, L, K)
    """
    values = kept.log_probs if weights == "log_probs" else kept.values
    there = torch.isfinite(kept.values)
    if weights == "softmax":
        values = torch.where(there.any(-1, keepdim=True), values, torch.zeros_like(values)).softmax(-1)
    values = torch.where(there, values, torch.zeros_like(values))
    if weights == "zscore":
        count = there.sum(-1, keepdim=True).clamp_min(1)
        centred = torch.where(there, values - values.sum(-1, keepdim=True) / count, torch.zeros_like(values))
        values = centred / (centred.pow(2).sum(-1, keepdim=True) / count + 1e-12).sqrt()
    return torch.where(mask[..., None], values, torch.zeros_like(values))


def node_features(
    h: Tensor, ids: Tensor, mask: Tensor, *, nodes: Nodes, feature: NodeFeature, vocab_size: int
) -> list[Tensor]:
    """Node features of the co-activation graph of each example, without forming vocabulary x vocabulary edges.

    The mean feature is f_i = (1/n) sum_j C_ij with C = (1/L) sum_t h_t h_t', computed as
    (1/(nL)) sum_t (h_t'1) h_t; n = K for rank nodes and n = 1 (row sums) for vocabulary nodes, so that the value does
    not shrink with V.  The spread is the standard deviation of a row times the square root of the number of nodes.
    The spectrum is the eigenvalues of C, taken from the smaller of C and the L x L Gram matrix of the positions; its
    sorted distance, squared and divided by the squared number of nodes, is a lower bound of GW.

    Parameters
    ----------
    h : Tensor (B, L, K)
        Weights from `node_weights`.
    ids : Tensor (B, L, K)
        Token ids of the channels; used for vocabulary nodes.
    mask : Tensor (B, L) of bool
        Answer positions.
    nodes : {"rank", "vocab"}
        One node per rank among the kept, or per vocabulary entry.
    feature : {"mean", "mean_std", "spectrum"}
        Row means alone, row means and row spreads, or eigenvalues.
    vocab_size : int
        V, for vocabulary nodes.

    Returns
    -------
    list of Tensor (B, N)
        One per feature; N = K or V (L for the spectrum of vocabulary nodes).

    Notes
    -----
    Cost: O(LK) a row for the mean.  The spread costs O(LK^2) for rank nodes and O(L^2 K + LV) for vocabulary nodes; the
    spectrum O(K^3) or O(L^3).
    """
    length = mask.sum(1).clamp_min(1)[:, None].to(h.dtype)
    if feature == "spectrum":
        return [_spectrum(h, ids, nodes, vocab_size) / length]
    strength = h.sum(-1, keepdim=True) * h
    if nodes == "rank":
        features = [strength.sum(1) / length / h.shape[-1]]
        if feature == "mean_std":
            edges = torch.einsum("blk,blj->bkj", h, h) / length[..., None]
            features.append(_spread(edges.pow(2).sum(-1), edges.sum(-1), edges.shape[-1]))
        return features
    dense = h.new_zeros(len(h), vocab_size)
    row_sum = dense.scatter_add(1, ids.flatten(1), strength.flatten(1)) / length
    features = [row_sum]
    if feature == "mean_std":
        # sum_j C_ij^2 = (1/L^2) sum_{t,u} h_ti (h_t . h_u) h_ui
        factor = h.new_zeros(*h.shape[:2], vocab_size).scatter_add(2, ids, h)
        gram = factor @ factor.transpose(1, 2)
        squares = torch.einsum("blv,blm,bmv->bv", factor, gram, factor) / length.pow(2)
        features.append(_spread(squares, row_sum, vocab_size))
    return features


def _spectrum(h: Tensor, ids: Tensor, nodes: Nodes, vocab_size: int) -> Tensor:
    if nodes == "rank":
        return torch.linalg.eigvalsh(torch.einsum("blk,blj->bkj", h, h))
    factor = h.new_zeros(*h.shape[:2], vocab_size).scatter_add(2, ids, h)
    return torch.linalg.eigvalsh(factor @ factor.transpose(1, 2))


def _spread(squares: Tensor, sums: Tensor, nodes: int) -> Tensor:
    variance = squares / nodes - (sums / nodes).pow(2)
    # a row of equal edges has spread 0; the square root has no gradient there and rounding must not make one
    floor = squares / nodes * 4 * torch.finfo(squares.dtype).eps
    real = variance > floor
    root = torch.where(real, variance, torch.ones_like(variance)).sqrt()
    return torch.where(real, root, torch.zeros_like(root)) * nodes**0.5


@dataclass(frozen=True)
class Interval:
    """Proved ends of the Gromov-Wasserstein distance between two graphs, in units of the second graph's energy.

    Attributes
    ----------
    lower, upper : float
        lower <= GW2^2 / ||C_2||^2 <= upper, with ||C_2||^2 the mean squared edge of the second graph.
    nodes : int
        Number of nodes compared.
    """

    lower: float
    upper: float
    nodes: int


def certified_interval(first: np.ndarray, second: np.ndarray) -> Interval:
    """Interval of the true GW between two co-activation graphs on the same nodes, uniform weights.

    The lower end is the rows bound, the upper end the objective at the known coupling (each node with itself).

    Parameters
    ----------
    first, second : ndarray (T1, n), (T2, n)
        Node weights at the positions of each graph; C_k = H_k' H_k / T_k.

    Returns
    -------
    Interval

    Notes
    -----
    Cost: O(n^2 (T + log n)) and one linear assignment of size n; n of a few hundred is meant.
    """
    n = first.shape[1]
    a = first.astype(np.float64) / np.sqrt(len(first))
    b = second.astype(np.float64) / np.sqrt(len(second))
    energy = float(np.square(b @ b.T).sum()) / n**2
    if energy == 0.0:
        return Interval(0.0, float("nan"), n)
    certificate = gwfast.certify(gwfast.Gram(a), gwfast.Gram(b), np.eye(n) / n)
    lower = gwfast.lower_bound(gwfast.Gram(a), gwfast.Gram(b), effort="rows").lower
    return Interval(float(lower) / energy, float(certificate.upper) / energy, n)
