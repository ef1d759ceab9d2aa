"""Sweeps of the level-1 reformulation in torch, for GPUs: the functions of `rlt1` on float32 tensors.

Rows are taken in blocks, so that memory beyond the state stays small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gwfast.budget import UNLIMITED
from gwfast.kernels import rlt1

memory = rlt1.memory
_BLOCK = 1 << 24  # numbers of the state handled at a time


@dataclass(frozen=True, eq=False)
class Costs:
    """Reduced cost first_ij second_kl + first_ji second_lk (asymmetric) + linear_ik + linear_jl, over the step."""

    first: torch.Tensor
    second: torch.Tensor
    linear: torch.Tensor
    p: torch.Tensor
    q: torch.Tensor
    paired: bool


@dataclass(frozen=True, eq=False)
class Means:
    """Conditional means of a symmetric array over l and over j: (n m, n) and (n m, m)."""

    rows: Any
    cols: Any


@dataclass(eq=False)
class State:
    """The array W, the conditional means of 2 Y - W, and the price of mass."""

    W: torch.Tensor
    means: Means
    price: float
    change: float


class RowBlocks:
    """Blocks of the first index, handled one after the other."""

    def __init__(self, n: int, size: int, threads: int):
        self.budget = UNLIMITED
        step = max(1, min(n, _BLOCK * n // max(size, 1)))
        self.blocks = [slice(low, min(n, low + step)) for low in range(0, n, step)]

    def __enter__(self) -> RowBlocks:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_costs(
    first: np.ndarray, second: np.ndarray, linear: np.ndarray, p: np.ndarray, q: np.ndarray, symmetric: bool
) -> Costs:
    """Hold the cost first second + (linear_ik + linear_jl) / 2 in float32, symmetrised if it is not symmetric."""

    def short(x: np.ndarray) -> torch.Tensor:
        return torch.tensor(x, dtype=torch.float32, device=_device())

    return Costs(short(first), short(second), short(0.5 * linear), short(p), short(q), not symmetric)


def _block_cost(costs: Costs, part: slice, price: float) -> torch.Tensor:
    """Cost (rows, m, n, m) of a block of the first index, with the price of mass."""
    cost = torch.einsum("ij,kl->ikjl", costs.first[part], costs.second)
    if costs.paired:
        cost += torch.einsum("ij,kl->ikjl", costs.first.T[part], costs.second.T)
    cost += costs.linear + price
    cost += costs.linear[part, :, None, None]
    return cost


def _take_means(g: torch.Tensor, costs: Costs, part: slice, means: Means) -> None:
    """Write the means of a block g (rows, m, n, m) into `means`."""
    means.rows.view(*costs.linear.shape, -1)[part] = g @ costs.q
    means.cols.view(*costs.linear.shape, -1)[part] = torch.einsum("j,ikjl->ikl", costs.p, g)


def _empty_means(costs: Costs) -> Means:
    n, m = costs.linear.shape
    make = lambda size: torch.empty((n * m, size), dtype=torch.float32, device=costs.p.device)
    return Means(make(n), make(m))


def start(costs: Costs, whole: Costs, workers: RowBlocks, density: np.ndarray | None = None) -> State:
    """State of the rank-one array of a plan; see `rlt1.start`."""
    n, m = costs.linear.shape
    device = costs.p.device
    d = torch.ones(n, m, device=device) if density is None else torch.tensor(density, dtype=torch.float32).to(device)
    W = torch.empty((n, m, n, m), dtype=torch.float32, device=device)
    for part in workers.blocks:
        square = (whole.first[part, None, :, None] - whole.second[None, :, None, :]) ** 2
        if costs.paired:
            square = (square + (whole.first.T[part, None, :, None] - whole.second.T[None, :, None, :]) ** 2) / 2
        extra = square + whole.linear + whole.linear[part, :, None, None] - _block_cost(costs, part, 0.0)
        W[part] = d[part, :, None, None] * d - extra
    state = State(W, _empty_means(costs), _price_of_mass_one(W, costs, workers), math.inf)
    refresh(state, costs, workers)
    return state


def _price_of_mass_one(W: torch.Tensor, costs: Costs, workers: RowBlocks) -> float:
    """Price at which Y has mass one, to a percent; see `rlt1`."""
    price, low, high = 0.0, -math.inf, math.inf
    weights = costs.p[:, None] * costs.q
    for _ in range(40):
        mass = support = 0.0
        for part in workers.blocks:
            y = (W[part] - _block_cost(costs, part, price)).clamp_(min=0)
            mass += float(torch.einsum("ik,ikjl,jl->", weights[part], y, weights))
            support += float(torch.einsum("ik,ikjl,jl->", weights[part], (y > 0).float(), weights))
        if abs(mass - 1) < 1e-2 or not math.isfinite(mass):
            break
        low, high = (price, high) if mass > 1 else (low, price)
        price = price + (mass - 1) / max(support, 0.02)
        if not low < price < high:
            price = (low + high) / 2
    return price


def refresh(state: State, costs: Costs, workers: RowBlocks) -> None:
    """Take the means again, after W or the costs changed."""
    for part in workers.blocks:
        y = (state.W[part] - _block_cost(costs, part, state.price)).clamp_(min=0)
        _take_means(2 * y - state.W[part], costs, part, state.means)


def potentials(means: Means, p: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Potentials whose sum is G - P G P; see `rlt1.potentials`."""
    n, m = len(p), len(q)
    total = means.rows @ p
    x, y = means.rows - total[:, None], means.cols - total[:, None]
    mass = p @ total.view(n, m) @ q

    def one_sided(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = z.view(n, m, -1)
        over_second, over_first = torch.einsum("k,ikr->ir", q, z), torch.einsum("i,ikr->kr", p, z)
        mean = p @ over_second
        return over_second - mean, over_first - mean

    ij, kj = one_sided(x)
    il, kl = one_sided(y)
    ij, kl, il = (ij + ij.T) / 2, (kl + kl.T) / 2, (il + kj.T) / 2
    right = x.view(n, m, n) - ij[:, None] - il.T[None]
    right2 = y.view(n, m, m) - il[:, None] - kl[None] + (mass - 1)
    return right, right2, x.T.reshape(n, n, m), y.T.reshape(m, n, m)


def sweep(state: State, costs: Costs, rho: float, workers: RowBlocks) -> None:
    """One Douglas-Rachford step, in place."""
    right, right2, left, left2 = potentials(state.means, costs.p, costs.q)
    change = torch.zeros((), device=costs.p.device)
    for part in workers.blocks:
        w, cost = state.W[part], _block_cost(costs, part, state.price)
        step = (w - cost).clamp_(min=0).sub_(w)
        step -= right[part, :, :, None]
        step -= right2[part, :, None, :]
        step -= left[part, None]
        step -= left2[None]
        w.add_(step, alpha=rho)
        change += step.square_().sum()
        g = torch.sub(w, cost, out=step).clamp_(min=0).mul_(2).sub_(w)
        _take_means(g, costs, part, state.means)
    state.change = float(change) / state.W.numel()


def to_host(W: torch.Tensor) -> np.ndarray:
    """The array W in host memory."""
    return W.cpu().numpy()


def marginal(state: State, costs: Costs) -> np.ndarray:
    """Density (n, m) that 2 Y - W gives to pairs of points."""
    return (state.means.rows @ costs.p).view(costs.linear.shape).cpu().numpy()


def dual_means(state: State, costs: Costs, workers: RowBlocks) -> rlt1.Means:
    """Conditional means of the dual in units of the step length, as float64 numpy arrays."""
    means = _empty_means(costs)
    for part in workers.blocks:
        u = torch.maximum(-state.W[part], -_block_cost(costs, part, state.price))
        _take_means(u, costs, part, means)
    return rlt1.Means(means.rows.cpu().double().numpy(), means.cols.cpu().double().numpy())


def restep(state: State, costs: Costs, ratio: float, workers: RowBlocks) -> None:
    """Multiply the step length by `ratio`; `costs` are those of the old step."""
    for part in workers.blocks:
        w = state.W[part]
        y = (w - _block_cost(costs, part, state.price)).clamp_(min=0)
        w.copy_(y - (y - w) / ratio)
    state.price /= ratio
