"""How spaces lie in memory for the compiled pairs, and the scratch memory of one pair.

Rows of matrices are padded with zeros to a multiple of `PAD` numbers, so that loops over rows need no remainder.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PAD = 8

# columns of Packed.size
POINTS, WIDTH, MATRIX, VECTOR, LAW, LAW_LENGTH, SKEW, ROW_WEIGHTS = range(8)
# columns of Packed.number
TOTAL, SECOND, ERROR, NORM, EXTENT = range(5)
# rows of Packed.matrix and of Packed.skew: cost, sorted rows, the same transposed, of the cost and doubly centred
COST, ROWS, ROWS_T, CENTRED, CENTRED_T = range(5)
# rows of Packed.vector: weights, then features of rows (mean, std, rms, std of the doubly centred) and of columns,
# their sorted values and the weights in that order, then spectra
WEIGHT, FEATURE, SORTED, SORTED_WEIGHT, SPECTRUM = 0, 1, 9, 17, 25
MEAN, STD, RMS, CENTRED_STD, COLUMNS = 0, 1, 2, 3, 4
# spectra of the cost and of the doubly centred cost: Hermitian lift, symmetric part, skew part
LIFT, SYMMETRIC_PART, SKEW_PART = 0, 2, 4
VECTORS = 31
# rows of Packed.integer: weights as integers, orders of the features
FLOW, ORDER = 0, 1
INTEGERS = 9


class Packed(NamedTuple):
    """Many spaces, everything that depends on one of them computed once.

    Attributes
    ----------
    size : integer array (N, 8)
        Points, width of a row, and where a space begins in the arrays below; -1 in SKEW for symmetric costs, in
        ROW_WEIGHTS for uniform weights.
    number : array (N, 5)
        Mean of the cost, mean of its square, rounding errors of its features and of its spectra, largest entry.
    matrix : array (5, sum n * width)
        Symmetric part of the cost; rows of the cost, and of the doubly centred cost, sorted, and their transposes.
    single : float32 array (2, sum n * width)
        Symmetric part, and -4 times it.
    skew : array (5, ...)
        Skew part of asymmetric costs; their columns as `matrix` has the rows.
    skew_single : float32 array (2, ...)
        Skew part, and 4 times it.
    row_weights : array (4, ...)
        Weights in the order of the sorted rows and columns, plain and centred, where they are not uniform.
    vector : array (31, sum width)
    integer : integer array (9, sum width)
    law : array (2, ...)
        Distinct entries of the cost, sorted, and their masses.
    features : array (sum width, f)
        Node features; labels are one column.
    """

    size: np.ndarray
    number: np.ndarray
    matrix: np.ndarray
    single: np.ndarray
    skew: np.ndarray
    skew_single: np.ndarray
    row_weights: np.ndarray
    vector: np.ndarray
    integer: np.ndarray
    law: np.ndarray
    features: np.ndarray


class Fused(NamedTuple):
    """How features are compared.

    Attributes
    ----------
    alpha : float
        Weight of the structure.
    metric : int
        NONE, SQUARED, EUCLIDEAN or LABELS.
    labels : array (L, L)
        Cost between labels.
    """

    alpha: float
    metric: int
    labels: np.ndarray


NONE, SQUARED, EUCLIDEAN, LABELS = range(4)

# matrices (n, width) of the scratch memory in double precision
PLAN, VERTEX, IMAGE, VERTEX_IMAGE, HALF, GRADIENT, BEST, LINEAR = range(8)
MATRICES = 8
# vectors (n + m)
PRICES, DIST, REST, POTENTIAL, GAIN, V1, V2, V3, V4, V5 = range(10)
DOUBLES = 10
# matrices in single precision
KERNEL, PRODUCT, COST32, POWER = range(4)
SINGLE_MATRICES = 4
# vectors in single precision
ROW_SCALE, COLUMN_SCALE, PRICES32, COLUMN_WEIGHT, COLUMN_SUM, ROW_WEIGHT = range(6)
SINGLES = 6
# integer vectors
ROW_OF, COL_OF, PRED, STACK, SUPPLY, PARENT, FIRST, NEXT, PREVIOUS, DEPTH, TREE_FLOW, LEFT, EDGE_I, EDGE_J, EDGE_F = (
    range(15)
)
ATOM_I, ATOM_J = 15, 16
WHOLE = 17


def padded(n: int) -> int:
    """The width of a row of n numbers."""
    return -(-n // PAD) * PAD


def buffers(most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Memory for one thread that solves pairs of at most `most` points each; doubles, singles, integers."""
    area, length = most * padded(most), 2 * padded(most)
    return (
        np.zeros(MATRICES * area + DOUBLES * length),
        np.zeros(SINGLE_MATRICES * area + SINGLES * length, np.float32),
        np.zeros(WHOLE * length, np.int64),
    )
