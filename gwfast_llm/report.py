"""``python -m gwfast_llm.report``: make the pictures and the page of a finished run, from what it has on the disk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gwfast_llm.command_line.parser import guard
from gwfast_llm.reports.run_report import PAGE, RECORD, draw
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.values import in_home

DESCRIPTION = """Make the pictures and the page of a finished run again, from its run.json and metrics.jsonl.

Every run does so by itself once its model is saved; this is for where that failed."""

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser("python -m gwfast_llm.report", description=DESCRIPTION)
    parser.add_argument("run", type=str, help="folder of a run")
    options = parser.parse_args(arguments)

    def work() -> int:
        run = Path(in_home(options.run, "the folder of a run"))
        if not (run / RECORD).is_file():
            raise FusionError(f"{run} holds no {RECORD}; give the folder of a finished run, for instance runs/x")
        complaints = draw(run)
        print("\n".join(complaints) if complaints else f"report {run / PAGE}")
        return FAILED if complaints else 0

    return guard(work)


if __name__ == "__main__":
    sys.exit(main())
