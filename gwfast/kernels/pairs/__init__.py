"""Compiled solver and bounds for many pairs of small spaces: packed data in, scratch memory only, no Python inside.

Nothing here is trusted: plans are couplings by construction, values are sums of squares over their atoms, and every
bound is the value of a dual or of a sorted plan, lowered by its rounding margin.
"""
