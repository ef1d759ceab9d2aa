"""The only room that names numpy or torch.

Everything below the front doors works on float64 arrays of one library and asks them for their namespace
(the array API standard, through array-api-compat).  What the standard lacks is here under one name.
"""

from gwfast.arrays.namespace import (
    Array,
    asks_for_gradient,
    cast_like,
    detach,
    from_numpy,
    is_array,
    is_torch,
    item,
    library_and_device,
    like_scalar,
    namespace,
    needs_grad,
    on_gpu,
    on_host,
    returned_dtype,
    scalar,
    scalar_down,
    scalar_up,
    to_float64,
    to_numpy,
)
from gwfast.arrays.operations import (
    atoms_to_dense,
    elementary,
    nonzero_atoms,
    row_block,
    safe_sqrt,
    sparse_times_dense,
    sum_by_index,
)
from gwfast.arrays.row_products import sorted_row_products

__all__ = [
    "Array",
    "asks_for_gradient",
    "atoms_to_dense",
    "cast_like",
    "detach",
    "elementary",
    "from_numpy",
    "is_array",
    "is_torch",
    "item",
    "library_and_device",
    "like_scalar",
    "namespace",
    "needs_grad",
    "nonzero_atoms",
    "on_gpu",
    "on_host",
    "returned_dtype",
    "row_block",
    "safe_sqrt",
    "scalar",
    "scalar_down",
    "scalar_up",
    "sorted_row_products",
    "sparse_times_dense",
    "sum_by_index",
    "to_float64",
    "to_numpy",
]
