"""Does the graph matter: graph losses against the same losses on edges without co-activation."""

from __future__ import annotations

from pathlib import Path

from experiments.fusion_objectives.run import RECORD as OBJECTIVES
from experiments.shared import benchmark
from experiments.shared.benchmark import SEEDS
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.methods import CONTROLS, by_name
from experiments.shared.records import Record, Row, where
from experiments.shared.selection import final_jobs, selection_jobs
from experiments.shared.threads import one_thread
from experiments.shared.training import Run, scored

RECORD = Record(Path(__file__).parent / "records")
STEPS = (200, 400)
# full loss, control, what the control lacks, pairs of weights: each side at both weights where the chosen ones differ,
# and controls of other kinds at the weight chosen for the full loss; InfiGFusion at w holds ULD at 0.1 w
EQUAL = (
    ("gld", "gld constant", "edges", ((0.01, 0.01), (0.03, 0.03))),
    ("gld_aligned", "gld_aligned null", "edges", ((1.0, 1.0), (3.0, 3.0))),
    ("gld", "gld shuffled", "source", ((0.03, 0.03),)),
    ("infigfusion", "infigfusion shuffled", "source", ((1.0, 1.0),)),
    ("gld_aligned", "gld_aligned shuffled", "source", ((3.0, 3.0),)),
    ("gld_aligned", "gld_aligned shuffled in task", "source", ((3.0, 3.0),)),
    ("path", "path shuffled", "source", ((3.0, 3.0),)),
    ("infigfusion", "uld", "graph", ((1.0, 0.1),)),
)
EQUAL_STEPS = 400
STATED_MINUTES = 34.1


def config() -> Row:
    """What is run; the full losses themselves are in the record of fusion_objectives."""
    return {
        "controls": {
            m.name: {"what": m.what, "edges": m.edges, "teacher": m.teacher, "grid": list(m.grid)} for m in CONTROLS
        },
        "equal": [
            {"full": a, "control": b, "lacks": c, "weights": [list(pair) for pair in w], "steps": EQUAL_STEPS}
            for a, b, c, w in EQUAL
        ],
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
    return found + equal_jobs()


def equal_jobs() -> list[Job]:
    """Runs at equal weights: a loss with a smaller weight also trains more like plain SFT."""

    def job(name: str, weight: float, seed: int) -> Job:
        fields = {"stage": "equal", "method": name, "seed": seed, "steps": EQUAL_STEPS, "weight": weight}
        work = lambda: dict(scored(Run(by_name(name), weight, 0.0, EQUAL_STEPS, seed)))
        return Job(f"equal {name} {weight:g} seed {seed}", work, fields)

    sides = [side for full, control, _, weights in EQUAL for w, v in weights for side in ((full, w), (control, v))]
    cells = list(dict.fromkeys(sides))
    return [job(name, weight, seed) for seed in range(SEEDS) for name, weight in cells if not known(name, weight, seed)]


def known(name: str, weight: float, seed: int) -> bool:
    """Whether a test run of this very kind is in a record."""
    same = {"stage": "test", "method": name, "seed": seed, "steps": EQUAL_STEPS, "weight": weight}
    return bool(where(RECORD.rows + OBJECTIVES.rows, **same))


def main() -> None:
    """Run what is not in the record yet."""
    RECORD.start(config())
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    one_thread()
    main()
