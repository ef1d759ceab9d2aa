"""The experiments on a CPU, in the order in which they run, with their stated times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from experiments.bounds_tightness import plot as bounds_plot
from experiments.bounds_tightness import report as bounds_report
from experiments.bounds_tightness import run as bounds
from experiments.fusion_ablation import plot as ablation_plot
from experiments.fusion_ablation import report as ablation_report
from experiments.fusion_ablation import run as ablation
from experiments.fusion_ladder import plot as ladder_plot
from experiments.fusion_ladder import report as ladder_report
from experiments.fusion_ladder import run as ladder
from experiments.fusion_objectives import plot as objectives_plot
from experiments.fusion_objectives import report as objectives_report
from experiments.fusion_objectives import run as objectives
from experiments.fusion_sweeps import plot as sweeps_plot
from experiments.fusion_sweeps import report as sweeps_report
from experiments.fusion_sweeps import run as sweeps
from experiments.pot_audit import plot as audit_plot
from experiments.pot_audit import report as audit_report
from experiments.pot_audit import run as audit
from experiments.shared.records import Record
from experiments.solvers import plot as solvers_plot
from experiments.solvers import report as solvers_report
from experiments.solvers import run as solvers
from experiments.sorted_approximation import plot as sorted_plot
from experiments.sorted_approximation import report as sorted_report
from experiments.sorted_approximation import run as sorted_run
from experiments.token_recovery import plot as recovery_plot
from experiments.token_recovery import report as recovery_report
from experiments.token_recovery import run as recovery


@dataclass(frozen=True)
class Experiment:
    """One folder.

    Attributes
    ----------
    name : str
        Of the folder.
    claim : str
        Heading in the results.
    minutes : float
        Stated time on one core.
    record : Record
        Its rows.
    run, plot : callable
        Do what is missing; draw.
    job_names : callable
        Names of all jobs.
    answer, brief, readme : callable
        Text from the record alone: the finding, the same in a sentence or two, and the README of the folder.
    real_data : bool
        Whether `run` takes the folder of real data, None to look for it.
    excerpts : dict of callable
        Smaller pieces of text from the record, by name, for pages that show no more than that.
    """

    name: str
    claim: str
    minutes: float
    record: Record
    run: Callable[..., None]
    plot: Callable[[], None]
    job_names: Callable[[], list[str]]
    answer: Callable[[], str]
    brief: Callable[[], str]
    readme: Callable[[], str]
    real_data: bool = False
    excerpts: dict[str, Callable[[], str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where it lives."""
        return self.record.folder.parent


EXPERIMENTS = (
    Experiment(
        "pot_audit",
        "How far from the optimum",
        audit.STATED_MINUTES,
        audit.RECORD,
        audit.main,
        audit_plot.main,
        lambda: [j.name for j in audit.jobs()],
        audit_report.answer,
        audit_report.brief,
        audit_report.readme,
    ),
    Experiment(
        "fusion_objectives",
        "Which objective fuses best",
        objectives.STATED_MINUTES,
        objectives.RECORD,
        objectives.main,
        objectives_plot.main,
        lambda: [j.name for j in objectives.jobs()],
        objectives_report.answer,
        objectives_report.brief,
        objectives_report.readme,
        excerpts={"front": objectives_report.front},
    ),
    Experiment(
        "fusion_ablation",
        "Whether the graph matters",
        ablation.STATED_MINUTES,
        ablation.RECORD,
        ablation.main,
        ablation_plot.main,
        lambda: [j.name for j in ablation.jobs()],
        ablation_report.answer,
        ablation_report.brief,
        ablation_report.readme,
    ),
    Experiment(
        "fusion_ladder",
        "Which loss moves which end of GW",
        ladder.STATED_MINUTES,
        ladder.RECORD,
        ladder.main,
        ladder_plot.main,
        lambda: [j.name for j in ladder.jobs()],
        ladder_report.answer,
        ladder_report.brief,
        ladder_report.readme,
        excerpts={"ends": ladder_report.brief},
    ),
    Experiment(
        "fusion_sweeps",
        "Choices inside the objectives",
        sweeps.STATED_MINUTES,
        sweeps.RECORD,
        sweeps.main,
        sweeps_plot.main,
        lambda: [j.name for j in sweeps.jobs()],
        sweeps_report.answer,
        sweeps_report.brief,
        sweeps_report.readme,
        excerpts={"gradients": sweeps_report.gradients_front, "windows": sweeps_report.windows_answer},
    ),
    Experiment(
        "token_recovery",
        "Finding which token is which by GW",
        recovery.STATED_MINUTES,
        recovery.RECORD,
        recovery.main,
        recovery_plot.main,
        lambda: [j.name for j in recovery.jobs()],
        recovery_report.answer,
        recovery_report.brief,
        recovery_report.readme,
    ),
    Experiment(
        "bounds_tightness",
        "Tightness of the bounds",
        bounds.STATED_MINUTES,
        bounds.RECORD,
        bounds.main,
        bounds_plot.main,
        lambda: [j.name for j in bounds.jobs()],
        bounds_report.answer,
        bounds_report.brief,
        bounds_report.readme,
        excerpts={"front": bounds_report.front, "deviations": bounds_report.deviations},
    ),
    Experiment(
        "sorted_approximation",
        "What sorting loses",
        sorted_run.STATED_MINUTES,
        sorted_run.RECORD,
        sorted_run.main,
        sorted_plot.main,
        lambda: [j.name for j in sorted_run.jobs()],
        sorted_report.answer,
        sorted_report.brief,
        sorted_report.readme,
        excerpts={"fusion": sorted_report.front},
    ),
    Experiment(
        "solvers",
        "Solvers against peers",
        solvers.STATED_MINUTES,
        solvers.RECORD,
        solvers.main,
        solvers_plot.main,
        solvers.names,
        solvers_report.answer,
        solvers_report.brief,
        solvers_report.readme,
        real_data=True,
        excerpts={"front": solvers_report.front},
    ),
)
