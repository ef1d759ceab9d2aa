"""Matrix products of small matrices: register tiles in LLVM's vector types, and a plain fallback.

numba's loops over short rows do not keep the sums in registers and take two to five times as long.  The tiles rest on
llvmlite, whose interface may change: `GWFAST_PLAIN_KERNELS=1`, or a failing import, takes the plain loops instead.
"""

from __future__ import annotations

import os

from gwfast.kernels.pairs.flags import fast

LANES = 8
TALL, WIDE = 4, 3  # rows and vectors of a tile: twelve sums in registers


@fast
def plain_product(A, B, out, inner):
    """Write A[:, :inner] B into `out` by rows."""
    for i in range(out.shape[0]):
        row = out[i]
        for j in range(out.shape[1]):
            row[j] = 0
        for k in range(inner):
            x, other = A[i, k], B[k]
            for j in range(out.shape[1]):
                row[j] += x * other[j]


def _tiled():
    """Compile the tiles."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    i64, i32 = ir.IntType(64), ir.IntType(32)

    @intrinsic
    def tiles(typingctx, A, B, out, inner):
        signature = types.void(A, B, out, inner)

        def emit(context, builder, signature, arguments):
            single = signature.args[0].dtype == types.float32
            element, align = (ir.FloatType(), 4) if single else (ir.DoubleType(), 8)
            vector = ir.VectorType(element, LANES)
            arrays = [context.make_array(signature.args[k])(context, builder, arguments[k]) for k in range(3)]
            first, second, result = (array.data for array in arrays)
            n, width = (builder.extract_value(arrays[2].shape, axis) for axis in (0, 1))
            stride, inner = builder.extract_value(arrays[0].shape, 1), arguments[3]
            undefined = ir.Constant(vector, ir.Undefined)
            same_lane = ir.Constant(ir.VectorType(i32, LANES), [0] * LANES)

            def at(pointer, row, length, column):
                return builder.gep(pointer, [builder.add(builder.mul(row, length), column)])

            def tile(i, j, tall, wide):
                sums = [[cgutils.alloca_once(builder, vector) for _ in range(wide)] for _ in range(tall)]
                for line in sums:
                    for place in line:
                        builder.store(ir.Constant(vector, [0.0] * LANES), place)
                with cgutils.for_range(builder, inner, intp=i64) as loop:
                    begin = at(second, loop.index, width, j)
                    columns = []
                    for v in range(wide):
                        place = builder.gep(begin, [ir.Constant(i64, v * LANES)])
                        columns.append(builder.load(builder.bitcast(place, vector.as_pointer()), align=align))
                    for r in range(tall):
                        x = builder.load(at(first, builder.add(i, ir.Constant(i64, r)), stride, loop.index))
                        x = builder.insert_element(undefined, x, ir.Constant(i32, 0))
                        x = builder.shuffle_vector(x, undefined, same_lane)
                        for v in range(wide):
                            product = builder.fmul(x, columns[v], flags=["fast"])
                            total = builder.fadd(product, builder.load(sums[r][v]), flags=["fast"])
                            builder.store(total, sums[r][v])
                for r in range(tall):
                    for v in range(wide):
                        place = at(
                            result,
                            builder.add(i, ir.Constant(i64, r)),
                            width,
                            builder.add(j, ir.Constant(i64, v * LANES)),
                        )
                        builder.store(
                            builder.load(sums[r][v]), builder.bitcast(place, vector.as_pointer()), align=align
                        )

            def rows(i, tall):
                step = ir.Constant(i64, WIDE * LANES)
                edge = builder.mul(builder.udiv(width, step), step)
                with cgutils.for_range_slice(builder, ir.Constant(i64, 0), edge, step, intp=i64) as (j, _):
                    tile(i, j, tall, WIDE)
                with cgutils.for_range_slice(builder, edge, width, ir.Constant(i64, LANES), intp=i64) as (j, _):
                    tile(i, j, tall, 1)

            step = ir.Constant(i64, TALL)
            edge = builder.mul(builder.udiv(n, step), step)
            with cgutils.for_range_slice(builder, ir.Constant(i64, 0), edge, step, intp=i64) as (i, _):
                rows(i, TALL)
            with cgutils.for_range_slice(builder, edge, n, ir.Constant(i64, 1), intp=i64) as (i, _):
                rows(i, 1)
            return context.get_dummy_value()

        return signature, emit

    @fast
    def product(A, B, out, inner):
        """Write A[:, :inner] B into `out`; rows of B and of `out` have one length, a multiple of `LANES`."""
        tiles(A, B, out, inner)  # pyright: ignore[reportCallIssue]

    return product


def _chosen():
    if os.environ.get("GWFAST_PLAIN_KERNELS") == "1":
        return plain_product
    try:
        return _tiled()
    except (ImportError, AttributeError, TypeError):
        return plain_product


product = _chosen()
