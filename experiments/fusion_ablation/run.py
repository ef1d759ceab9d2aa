"""Does the graph matter: graph losses against the same losses on edges without co-activation."""

from __future__ import annotations

from pathlib import Path

from experiments.shared import benchmark
from experiments.shared.benchmark import SEEDS
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.methods import CONTROLS
from experiments.shared.records import Record, Row
from experiments.shared.selection import final_jobs, selection_jobs

RECORD = Record(Path(__file__).parent / "records")
STEPS = (200, 400)
STATED_MINUTES = 20


def config() -> Row:
    """What is run; the full losses themselves are in the record of fusion_objectives."""
    return {
        "controls": {
            m.name: {"what": m.what, "edges": m.edges, "teacher": m.teacher, "grid": list(m.grid)} for m in CONTROLS
        },
        "steps": list(STEPS),
        "seeds": list(range(SEEDS)),
        "selection_seed": benchmark.SELECTION_SEED,
        "selection": "largest exact match less excess, 200 steps, one seed; the weight serves both budgets",
    }


def jobs() -> list[Job]:
    """Grids of the controls, then the tests."""
    found = selection_jobs(RECORD, CONTROLS)
    for steps in STEPS:
        found += final_jobs(RECORD, CONTROLS, steps, range(SEEDS))
    return found


def main() -> None:
    """Run what is not in the record yet."""
    RECORD.start(config())
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    main()
