"""Thousands of problems in one set of launches: torch tensors in, values, bounds and plans out."""

from __future__ import annotations

from typing import Any, NamedTuple

from gwfast import checks
from gwfast.arrays import Array, is_torch, namespace
from gwfast.errors import InputError

EFFORTS = ("sort", "rows")


class Batched(NamedTuple):
    """Answers for a batch of B problems, float64 tensors on the device of the costs.

    Attributes
    ----------
    annealed : tensor (B,)
        Objective of the annealed plan, an upper bound of the optimum.
    lower : tensor (B,)
        Proved lower bound of the optimum.
    plan : tensor (B, n, m)
        Annealed plans, with the exact marginals.
    entropic : tensor (B,) or None
        Objective of the entropic plan plus epsilon times its relative entropy.
    entropic_plan : tensor (B, n, m) or None
        Plans at the temperature epsilon, with the exact marginals.
    """

    annealed: Array
    lower: Array
    plan: Array
    entropic: Array | None
    entropic_plan: Array | None


def batched(
    C1: Array,
    C2: Array,
    p: Array | None = None,
    q: Array | None = None,
    *,
    mask1: Array | None = None,
    mask2: Array | None = None,
    M: Array | None = None,
    alpha: Any = None,
    symmetric: bool = True,
    epsilon: Any = 0.05,
    relative: bool = True,
    steps: int = 16,
    effort: str = "rows",
    check: bool = True,
) -> Batched:
    r"""Gromov-Wasserstein of a batch of problems in torch, differentiable, on a processor or a GPU.

    .. math:: \min_{T \in \Pi(p, q)} (1 - \alpha) \sum_{ik} M_{ik} T_{ik}
              + \alpha \sum_{ijkl} (C_{1,ij} - C_{2,kl})^2 \, T_{ik} T_{jl} + \epsilon \, \mathrm{KL}(T | p q^\top)

    Parameters
    ----------
    C1, C2 : tensors (B, n, n) and (B, m, m)
        Costs, float32 or float64.  The anneal runs in their precision; values and bounds are float64.
    p, q : tensors (B, n) and (B, m), optional
        Weights; uniform over the points of each space by default.  No gradient.
    mask1, mask2 : boolean tensors (B, n) and (B, m), optional
        Which points there are; all by default.  What stands at the others is not read.
    M : tensor (B, n, m), optional
        Feature cost.
    alpha : float or tensor (B,), optional
        Weight of the structure; 0.5 where there is a feature cost.
    symmetric : bool
        Whether all costs are symmetric; for others pass False.
    epsilon : float or tensor (B,) or None
        Temperature of the entropic value, None for none.
    relative : bool
        Whether `epsilon` is a share of the product loss :math:`\mathrm{Var}\, C_1 + \mathrm{Var}\, C_2 + (\bar C_1 -
        \bar C_2)^2`, with a feature cost alpha times that plus 1 - alpha times the standard deviation of M.
    steps : int
        Steps at the temperature `epsilon`; more bring the entropic plan nearer to a stationary one.
    effort : {"sort", "rows"}
        Lower bounds: mean-std and anova-std by sorting, or also third-lower-bound and anova-rows.
    check : bool
        Look at the values of the arguments first, which waits for the device.  With False nothing waits, and bad
        values give bad answers.

    Returns
    -------
    Batched
        Nothing is read back to the host; the launches do not depend on B or on values.

    Raises
    ------
    InputError
        An argument is not as above; the message names it, and the problem.

    Notes
    -----
    The annealed plan comes from 16 steps at temperatures from .4 to .03 of the product loss, 8 Sinkhorn scalings each,
    begun at the row costs; the entropic plan from as many steps to epsilon and `steps` at it.  Both are rounded to
    their marginals.  The annealed plan is blurred: on random clouds of 12 to 30 points in the plane its
    value was 7 to 17 % above that of `pairwise_gw` with quality "best".

    The bound by rows holds for all potentials: those of Sinkhorn scalings are made feasible by a c-transform.  Where
    weights are given its inner problems are bounded on 64 bins of the quantiles.

    Gradients with respect to C1, C2, M and alpha hold the plans fixed (envelope theorem): exact where the plan is
    stationary.  A temperature relative to the loss counts as a number.  The bounds by sorting are differentiated as
    they are.

    O(B n m (n + m)) a step; some twenty arrays (B, n, m), and (B, n, 128) with weights.

    References
    ----------
    G. Peyre, M. Cuturi, J. Solomon, Gromov-Wasserstein averaging of kernel and distance matrices, 2016.
    J. Altschuler, J. Weed, P. Rigollet, Near-linear time approximation algorithms for optimal transport, 2017.

    Examples
    --------
    >>> import torch
    >>> from gwfast.many import batched
    >>> x = torch.linspace(0, 1, 6, dtype=torch.float64).expand(3, 6) ** torch.tensor([[1.0], [2.0], [3.0]])
    >>> C = (x[:, :, None] - x[:, None, :]).abs()
    >>> found = batched(C, C[[0, 0, 0]])
    >>> bool((found.lower <= found.annealed).all()), tuple(found.plan.shape)
    (True, (3, 6, 6))
    """
    from gwfast.kernels.batch.run import solve

    checks.choice(effort, EFFORTS, "effort")
    checks.count(steps, "steps")
    _shapes(C1, C2, p, q, mask1, mask2, M)
    if alpha is not None and M is None:
        raise InputError("alpha: found one without M; alpha weighs the feature cost M, pass both")
    share = _per_problem(1.0 if M is None else 0.5 if alpha is None else alpha, C1, "alpha")
    heat = None if epsilon is None else _per_problem(epsilon, C1, "epsilon")
    first, second = _weights(C1, p, mask1), _weights(C2, q, mask2)
    if check:
        _values(C1, C2, first, second, M, share, heat, symmetric)
    found = solve(
        C1,
        C2,
        first,
        second,
        M,
        share,
        heat,
        relative=relative,
        steps=steps,
        symmetric=symmetric,
        uniform=p is None and q is None,
        rows=effort == "rows",
    )
    return Batched(*found)


def _shapes(C1: Any, C2: Any, p: Any, q: Any, mask1: Any, mask2: Any, M: Any) -> None:
    """Refuse what is no tensor of the right shape on the device of C1; no value is read."""
    for name, C in (("C1", C1), ("C2", C2)):
        if not is_torch(C):
            raise InputError(f"{name}: expected a torch tensor, found {type(C).__name__}; pass torch.as_tensor({name})")
        if C.ndim != 3 or C.shape[1] != C.shape[2] or 0 in tuple(C.shape[1:]):
            raise InputError(f"{name}: expected shape (B, n, n) with n > 0, found {tuple(C.shape)}")
    B, n, m = C1.shape[0], C1.shape[1], C2.shape[1]
    shapes = (("C2", C2, (B, m, m)), ("p", p, (B, n)), ("q", q, (B, m)), ("M", M, (B, n, m)))
    masks = (("mask1", mask1, (B, n)), ("mask2", mask2, (B, m)))
    for name, x, shape in (("C1", C1, (B, n, n)), *shapes, *masks):
        if x is None:
            continue
        kind = "bool" if name.startswith("mask") else "float"
        if not is_torch(x) or kind not in str(x.dtype) or "16" in str(x.dtype):
            wanted = "a boolean tensor" if kind == "bool" else "a float32 or float64 tensor"
            raise InputError(f"{name}: expected {wanted}, found {getattr(x, 'dtype', type(x).__name__)}")
        if tuple(x.shape) != shape:
            raise InputError(f"{name}: expected shape {shape}, found {tuple(x.shape)}")
        if x.device != C1.device:
            raise InputError(f"{name}: found on {x.device}, C1 on {C1.device}; move one of them")


def _per_problem(x: Any, like: Array, name: str) -> Array:
    """A number, or one for each problem, as a tensor (B,)."""
    xp, B = namespace(like), like.shape[0]
    if not is_torch(x):
        return xp.full((B,), checks.number(x, name), dtype=xp.float64, device=like.device)
    if tuple(x.shape) not in ((), (B,)) or x.device != like.device:
        raise InputError(
            f"{name}: expected a number or shape ({B},) on {like.device}, found {tuple(x.shape)} on {x.device}"
        )
    return x.expand(B)


def _weights(C: Array, w: Array | None, mask: Array | None) -> Array:
    """Weights (B, n), 0 at absent points; `solve` brings their sum to 1."""
    xp = namespace(C)
    w = xp.ones(tuple(C.shape[:2]), dtype=xp.float64, device=C.device) if w is None else w.detach()
    return w if mask is None else xp.where(mask, w, xp.zeros_like(w))


def _values(
    C1: Array, C2: Array, p: Array, q: Array, M: Array | None, alpha: Array, epsilon: Array | None, symmetric: bool
) -> None:
    """Look at all values; the first problem that breaks a rule is named."""
    xp = namespace(C1)
    here, there = p > 0, q > 0
    sides = (("C1", C1, here[:, :, None] & here[:, None, :]), ("C2", C2, there[:, :, None] & there[:, None, :]))
    rules = []
    for name, w in (("p", p), ("q", q)):
        rules.append((name, ~((w >= 0).all(1) & xp.isfinite(w).all(1)), "expected weights >= 0"))
        rules.append((name, ~(w > 0).any(1), "expected at least one point with mass"))
    for name, C, both in sides:
        rules.append((name, (both & ~xp.isfinite(C)).flatten(1).any(1), "found entries that are NaN or infinite"))
        if symmetric:
            rules.append((name, (both & (C.mT != C)).flatten(1).any(1), "is asymmetric; pass symmetric=False"))
    if M is not None:
        both = here[:, :, None] & there[:, None, :]
        rules.append(("M", (both & ~xp.isfinite(M)).flatten(1).any(1), "found entries that are NaN or infinite"))
    rules.append(("alpha", ~((alpha >= 0) & (alpha <= 1)), "expected a number between 0 and 1"))
    if epsilon is not None:
        rules.append(("epsilon", ~((epsilon > 0) & xp.isfinite(epsilon)), "expected a number above 0"))
    broken = xp.stack([rule[1] for rule in rules])
    if bool(broken.any()):  # the one wait
        k, b = broken.nonzero()[0].tolist()
        raise InputError(f"{rules[k][0]}[{b}]: {rules[k][2]}")
