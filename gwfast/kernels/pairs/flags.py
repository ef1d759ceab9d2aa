"""How the kernels of pairs are compiled: a function inside another becomes part of it, so that nothing compiles twice.

numba optimises the code of a callee again with every caller above it.  Functions that are used in one or two places
are inlined before that; `outlined` ones are used in many.  Sums may be reordered and contracted, NaN does not occur.
"""

from __future__ import annotations

from gwfast.kernels.compiled import compiled

_MATH = {"reassoc", "nsz", "nnan", "contract", "arcp"}

inlined = compiled(fastmath=_MATH, error_model="numpy", no_cfunc_wrapper=True)
strict = compiled(error_model="numpy", no_cfunc_wrapper=True)  # keeps comparisons with NaN
outlined = compiled(fastmath=_MATH, error_model="numpy", no_cfunc_wrapper=True)
