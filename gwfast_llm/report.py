"""``python -m gwfast_llm.report``: make the pictures and the page of a finished run, from what it has on the disk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gwfast_llm.command_line.parser import guard
from gwfast_llm.errors import FusionError
from gwfast_llm.reports.run_report import PAGE, RECORD, draw

DESCRIPTION = """Make the pictures and the page of a finished run again, from its run.json and metrics.jsonl.

Every run does so by itself once its model is saved; this is for where that failed."""

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser("python -m gwfast_llm.report", description=DESCRIPTION)
    parser.add_argument("run", type=lambda place: Path(place).expanduser(), help="folder of a run")
    options = parser.parse_args(arguments)

    def work() -> int:
        if not (options.run / RECORD).is_file():
            raise FusionError(
                f"{options.run} holds no {RECORD}; give the folder of a finished run, for instance runs/x"
            )
        complaints = draw(options.run)
        print("\n".join(complaints) if complaints else f"report {options.run / PAGE}")
        return FAILED if complaints else 0

    return guard(work)


if __name__ == "__main__":
    sys.exit(main())
