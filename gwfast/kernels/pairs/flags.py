"""How the kernels of pairs are compiled: sums may be reordered and contracted, and NaN does not occur."""

from __future__ import annotations

from gwfast.kernels.compiled import compiled

fast = compiled(fastmath={"reassoc", "nsz", "nnan", "contract", "arcp"}, error_model="numpy", no_cfunc_wrapper=True)
strict = compiled(error_model="numpy", no_cfunc_wrapper=True)  # keeps comparisons with NaN
