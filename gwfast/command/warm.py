"""Compiles every kernel that the front doors and tables need, so that no later call waits for it."""

from __future__ import annotations

import numpy as np

from gwfast.kernels.compiled import Announcement
from gwfast.many.table import pairwise_gw
from gwfast.solve import entropic_gw, exact_gw, sorted_gw
from gwfast.spaces.dense import Dense
from gwfast.spaces.point_cloud import PointCloud


def warm() -> str:
    """Run small problems of every kind; returns whether anything had to be compiled."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(6, 3)), rng.normal(size=(5, 3))
    weighted = Dense(rng.normal(size=(4, 4)), rng.dirichlet(np.ones(4)))
    for first, second in ((PointCloud(X), PointCloud(X + 0.1)), (PointCloud(X), PointCloud(Y)), (weighted, weighted)):
        sorted_gw(first, second)
        entropic_gw(first, second, epsilon=1.0)
        exact_gw(first, second, effort="prove", time_limit=1.0)
    pairwise_gw([PointCloud(X), PointCloud(Y), weighted], quality="best", effort="rows")
    return "kernels are compiled" if Announcement.said else "kernels were compiled already"
