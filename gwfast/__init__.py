"""Gromov-Wasserstein distances and plans, each with a proved interval that holds the optimum."""

from gwfast.barycenters.door import barycenter
from gwfast.barycenters.record import Barycenter
from gwfast.errors import ConvergenceWarning, GWFastError, InputError, MissingPackageError, WorkerError
from gwfast.features import FeatureCost
from gwfast.interop.pot import GromovResult, solve_gromov
from gwfast.many.neighbours import nearest, neighbours
from gwfast.many.result import Neighbours, Pairwise
from gwfast.many.table import pairwise_gw
from gwfast.marginals import Balanced, Partial, SemiRelaxed, Unbalanced
from gwfast.method import EFFORTS
from gwfast.plan import Plan
from gwfast.problem import Problem
from gwfast.result import Bound, Certificate, Result, Stop
from gwfast.sampling import sampled_gw
from gwfast.saving import load_certificate, save_certificate
from gwfast.solve import certify, entropic_gw, exact_gw, lower_bound, sorted_gw
from gwfast.spaces.dense import Dense
from gwfast.spaces.gram import Gram
from gwfast.spaces.graph import Graph
from gwfast.spaces.graph_rows import GraphRows
from gwfast.spaces.on_demand import Rows
from gwfast.spaces.point_cloud import PointCloud
from gwfast.spaces.space import Space
from gwfast.verify import verify

__version__ = "0.1.0"

__all__ = [
    "EFFORTS",
    "Balanced",
    "Barycenter",
    "Bound",
    "Certificate",
    "ConvergenceWarning",
    "Dense",
    "FeatureCost",
    "GWFastError",
    "Gram",
    "Graph",
    "GraphRows",
    "GromovResult",
    "InputError",
    "MissingPackageError",
    "Neighbours",
    "Pairwise",
    "Partial",
    "Plan",
    "PointCloud",
    "Problem",
    "Result",
    "Rows",
    "SemiRelaxed",
    "Space",
    "Stop",
    "Unbalanced",
    "WorkerError",
    "barycenter",
    "certify",
    "entropic_gw",
    "exact_gw",
    "load_certificate",
    "lower_bound",
    "nearest",
    "neighbours",
    "pairwise_gw",
    "sampled_gw",
    "save_certificate",
    "solve_gromov",
    "sorted_gw",
    "verify",
]
