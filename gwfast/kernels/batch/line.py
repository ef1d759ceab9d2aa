"""Transport on the line for a batch: sorted features, and quantiles of the rows of costs."""

from __future__ import annotations

import torch

Tensor = torch.Tensor
BINS = 64  # bins of the quantiles of weighted rows


def _ordered(f: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, n) and weights in ascending order; absent points go last, with the value of the last one."""
    top = torch.where(w > 0, f, -torch.inf).amax(1, keepdim=True)
    values, order = torch.where(w > 0, f, top).sort(dim=1, stable=True)
    return values, w.gather(1, order)


def line_w2(f: Tensor, g: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """W_2^2 (B,) between features f (B, n) with weights p and g (B, m) with weights q; differentiable in f and g."""
    f, p = _ordered(f, p)
    g, q = _ordered(g, q)
    n, m = f.shape[1], g.shape[1]
    ends, order = torch.cat([p.cumsum(1), q.cumsum(1)], 1).sort(dim=1, stable=True)
    width = ends.diff(dim=1, prepend=torch.zeros_like(ends.narrow(1, 0, 1)))
    from_f = (order < n).long()
    i = (from_f.cumsum(1) - from_f).clamp_max(n - 1)
    k = ((1 - from_f).cumsum(1) - (1 - from_f)).clamp_max(m - 1)
    return (width * (f.gather(1, i) - g.gather(1, k)) ** 2).sum(1)


def row_products(X: Tensor, Y: Tensor, p: Tensor, q: Tensor, uniform: bool) -> Tensor:
    """Upper bound (B, n, m) of E x y over couplings of a row of X (B, n, n) with a row of Y (B, m, m).

    Exact where `uniform`: the quantiles of all rows of a problem have one set of steps.  Otherwise means and spreads
    on equal bins of the quantiles: Cauchy-Schwarz bounds what is within a bin.
    """
    if not uniform:
        x, y = _binned(X, p), _binned(Y, q)
        return x @ y.mT
    n, m = X.shape[1], Y.shape[1]
    a, b = (p > 0).sum(1, keepdim=True), (q > 0).sum(1, keepdim=True)
    steps_x = torch.minimum(torch.arange(1, n + 1, device=X.device).unsqueeze(0), a) * b
    steps_y = torch.minimum(torch.arange(1, m + 1, device=X.device).unsqueeze(0), b) * a
    ends = torch.cat([steps_x, steps_y], 1).sort(1).values  # whole numbers: the product of both counts is 1
    start = torch.cat([torch.zeros_like(ends.narrow(1, 0, 1)), ends.narrow(1, 0, n + m - 1)], 1)
    width = (ends - start).to(X.dtype) / (a * b)
    i, k = torch.minimum(start // b, a - 1), torch.minimum(start // a, b - 1)
    xs = _sorted_rows(X, p)[0].gather(2, i.unsqueeze(1).expand(-1, n, -1))
    ys = _sorted_rows(Y, q)[0].gather(2, k.unsqueeze(1).expand(-1, m, -1))
    return (xs * width.unsqueeze(1)) @ ys.mT


def _sorted_rows(X: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in ascending order, absent points last with the value of the last one, and the weights in that order."""
    here = (p > 0).unsqueeze(1)
    top = torch.where(here, X, -torch.inf).amax(2, keepdim=True)
    values, order = torch.where(here, X, top).sort(dim=2, stable=True)
    return values, p.unsqueeze(1).expand_as(X).gather(2, order)


def _binned(X: Tensor, p: Tensor) -> Tensor:
    """Means, and spreads rounded up, of the quantiles of rows on equal bins, by the root of a bin: (B, n, 2 BINS)."""
    values, weights = _sorted_rows(X, p)
    ends = weights.cumsum(2)
    eps = torch.finfo(X.dtype).eps
    at = torch.arange(BINS + 1, dtype=X.dtype, device=X.device) / BINS
    place = torch.searchsorted(ends, at.repeat(X.shape[0], X.shape[1], 1)).clamp_max(X.shape[2] - 1)
    before = (ends - weights).gather(2, place)

    def means(v: Tensor) -> Tensor:
        integral = (v * weights).cumsum(2) - v * weights
        return (integral.gather(2, place) + (at - before) * v.gather(2, place)).diff(dim=2) * BINS

    points = (p > 0).sum(1).reshape(-1, 1, 1)
    mean = means(values)
    reach = values.detach().abs().amax(2, keepdim=True)
    spread = (means(values * values) - mean * mean).clamp_min(0.0)
    spread = (spread + 8 * BINS * (points + 8) * eps * reach * reach + torch.finfo(X.dtype).tiny).sqrt()
    return torch.cat([mean, spread], 2) * BINS**-0.5
