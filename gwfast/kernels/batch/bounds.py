"""Proved lower bounds of a batch: by sorting, and by a linear program whose dual is made feasible.

The margins are those of `gwfast.kernels.pairs.bounds`, in float64.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from gwfast.kernels.batch.line import BINS, line_w2, row_products
from gwfast.kernels.batch.problem import Batch, Moments, moments
from gwfast.kernels.batch.scaling import opened, scalings, to_marginals

Tensor = torch.Tensor
_EPS = float(np.finfo(np.float64).eps)
_SHARES, _SCALINGS = np.geomspace(0.3, 1e-3, 12).tolist(), 8  # temperatures of the dual


def _root(x: Tensor) -> Tensor:
    """Square root whose derivative at 0 is 0."""
    return torch.where(x > 0, torch.where(x > 0, x, 1.0).sqrt(), 0.0)


class _Side:
    """What both bounds use of the costs of one side, by rows: moments, deviations of the rows, rounding errors."""

    def __init__(self, C: Tensor, p: Tensor):
        points = p.shape[1]
        self.C, self.p = C, p
        self.row, self.column = moments(C, p), moments(C.mT, p)
        self.error = 8 * (points + 16) * _EPS * self.row.second.detach().sqrt()
        self.extent = C.detach().abs().amax((1, 2))
        total = self.row.total.reshape(-1, 1, 1)
        self.centred = C - self.row.mean.unsqueeze(2) - self.column.mean.unsqueeze(1) + total

    def deviation(self, rows: Tensor, mean: Tensor | None = None) -> Tensor:
        """Root mean squares (B, n) of rows about `mean` (B, n)."""
        about = rows if mean is None else rows - mean.unsqueeze(2)
        return _root((about * about * self.p.unsqueeze(1)).sum(2))


class Bounds:
    """Lower bounds of one batch; what they share is computed once."""

    def __init__(self, batch: Batch):
        self.batch = batch
        self.x, self.y = _Side(batch.C1, batch.p), _Side(batch.C2, batch.q)
        n, m = batch.p.shape[1], batch.q.shape[1]
        self.count = n + m
        self.unit = 8 * (n + m + 32) * _EPS
        self.error = self.x.error + self.y.error
        reach = 4 * (self.x.extent + self.y.extent)
        self.strays = 4 * (n + m + 8) * _EPS * reach * reach
        self.allowance = self.unit * (self.x.row.second + self.y.row.second).detach()
        self.shift = self.x.row.total - self.y.row.total
        self.constant = (self.shift.abs() * (1 - self.unit) - self.error).clamp_min(0.0) ** 2

    def _w2(self, f: Tensor, g: Tensor, error: Tensor) -> Tensor:
        """W_2^2 (B,) of two features known up to `error`, rounded down."""
        found = line_w2(f, g, self.batch.p, self.batch.q) - self.strays
        return (_root(found) * (1 - self.unit) - error).clamp_min(0.0) ** 2

    def _sides(self) -> list[tuple[Moments, Moments, bool]]:
        """Moments by rows, and by columns where those are others."""
        rows = self.x.row, self.y.row, False
        return [rows] if self.batch.symmetric else [rows, (self.x.column, self.y.column, True)]

    def sorting(self) -> Tensor:
        """The larger (B,) of mean-std and anova-std, by rows and columns, with the cheapest partner of each point."""
        effects, least = self.constant, torch.zeros_like(self.constant)
        for a, b, _ in self._sides():
            effect = self._w2(a.mean - a.total.unsqueeze(1), b.mean - b.total.unsqueeze(1), 2 * self.error)
            effects = effects + (2 if self.batch.symmetric else 1) * effect
        for a, b, turned in self._sides():
            pairs = []
            for side, own in ((self.x, a), (self.y, b)):
                C, H = (side.C.mT, side.centred.mT) if turned else (side.C, side.centred)
                pairs.append((own.mean, side.deviation(C, own.mean), side.deviation(H)))
            mean, std, rest = (self._w2(f, g, self.error) for f, g in zip(*pairs))
            least = torch.maximum(least, torch.maximum(mean + std, effects + rest))
        least = (least - self.allowance).clamp_min(0.0)
        return least if self.batch.M is None else self.batch.alpha * least + self._partner(self.batch.M)

    def _partner(self, M: Tensor) -> Tensor:
        """(1 - alpha) times the mean cost of everyone's cheapest partner, rounded down."""
        b = self.batch
        row = torch.where(b.there.unsqueeze(1), M, torch.inf).amin(2)
        column = torch.where(b.here.unsqueeze(2), M, torch.inf).amin(1)
        found = torch.maximum((b.p * row).sum(1), (b.q * column).sum(1))
        lost = (4 * self.count + 16) * _EPS * M.detach().abs().amax((1, 2))
        return (1 - b.alpha) * found - lost

    def rows(self) -> Tensor:
        """The larger (B,) of the third lower bound and its ANOVA form, each by column potentials made feasible.

        The potentials are those of Sinkhorn scalings.  Whatever they are, the bound is one: row potentials are the
        least reduced costs.  The gradient is that of the linear program at the entropic plan.
        """
        b = self.batch
        costs, constants = self._row_costs
        kinds = len(costs)
        G = b.alpha.reshape(-1, 1, 1) * torch.stack(costs)
        if b.M is not None:
            G = G + (1 - b.alpha).reshape(-1, 1, 1) * b.M
        G = G * (b.here.unsqueeze(2) & b.there.unsqueeze(1))  # kinds, B, n, m
        p, q = b.p.repeat(kinds, 1), b.q.repeat(kinds, 1)
        value, plan = dual_value(G.detach().flatten(0, 1), p, q)
        linear = (G * plan.reshape(G.shape)).sum((2, 3))
        low = value.reshape(kinds, -1) + linear - linear.detach()
        margin = 4 * b.alpha * (self.allowance + self.strays)
        if not b.uniform:
            reach = self.x.extent + self.y.extent
            margin = margin + b.alpha * 16 * BINS * (self.count + 32) * _EPS * reach * reach
        return (low + b.alpha * torch.stack(constants) - margin.detach()).amax(0)

    def start(self) -> Tensor:
        """A linear cost (B, n, m) whose plan is near the best ones: rows matched with rows, cut from the tape."""
        b, plain = self.batch, self._row_costs[0][-2].detach()
        alpha = b.alpha.detach().reshape(-1, 1, 1)
        cost = 2 * alpha * plain if b.M is None else 2 * alpha * plain + (1 - alpha) * b.M.detach()
        return cost * (b.here.unsqueeze(2) & b.there.unsqueeze(1))

    @cached_property
    def _row_costs(self) -> tuple[list[Tensor], list[Tensor]]:
        """Costs (B, n, m) of rows against rows, and the constants (B,) that go with them; the last pair is centred."""
        plain = [self._row_cost(self.x.C, self.y.C)]
        if not self.batch.symmetric:
            plain.append(self._row_cost(self.x.C.mT, self.y.C.mT))
            plain.append((plain[0] + plain[1]) / 2)
        centred = self._row_cost(self.x.centred, self.y.centred)
        if not self.batch.symmetric:
            centred = (centred + self._row_cost(self.x.centred.mT, self.y.centred.mT)) / 2
        for a, b in ((self.x.row, self.y.row), (self.x.column, self.y.column)):
            gap = a.mean.unsqueeze(2) - b.mean.unsqueeze(1) - self.shift.reshape(-1, 1, 1)
            centred = centred + gap * gap
        return [*plain, centred], [torch.zeros_like(self.shift)] * len(plain) + [self.constant]

    def _row_cost(self, X: Tensor, Y: Tensor) -> Tensor:
        p, q = self.batch.p, self.batch.q
        first, second = (X * X * p.unsqueeze(1)).sum(2), (Y * Y * q.unsqueeze(1)).sum(2)
        return first.unsqueeze(2) + second.unsqueeze(1) - 2 * row_products(X, Y, p, q, self.batch.uniform)


def dual_value(G: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Proved lower bound (B,) of min <G, T> over couplings, and a coupling (B, n, m) near the optimum."""
    here, there = p > 0, q > 0
    mean = (G * p.unsqueeze(2) * q.unsqueeze(1)).sum((1, 2), keepdim=True)
    unit = ((G - mean).abs() * p.unsqueeze(2) * q.unsqueeze(1)).sum((1, 2))
    unit = torch.where(unit > 0, unit, 1.0)
    cost, g = G / unit.reshape(-1, 1, 1), opened(q)
    T = p.unsqueeze(2) * q.unsqueeze(1)
    for share in _SHARES:
        T, g = scalings(cost, p, q, g, torch.full_like(unit, share), _SCALINGS)
    v = torch.where(there, g, 0.0) * unit.unsqueeze(1)
    u = torch.where(here, torch.where(there.unsqueeze(1), G - v.unsqueeze(1), torch.inf).amin(2), 0.0)
    v = torch.where(there, torch.where(here.unsqueeze(2), G - u.unsqueeze(2), torch.inf).amin(1), 0.0)
    spread = (p * u.abs()).sum(1) + (q * v.abs()).sum(1) + G.abs().amax((1, 2))
    low = (p * u).sum(1) + (q * v).sum(1) - (8 * (p.shape[1] + q.shape[1]) + 32) * _EPS * spread
    return low, to_marginals(T, p, q)
