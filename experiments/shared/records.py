"""Records of an experiment: what was run, on what, and one row a finished job, appended as it finishes."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.record import processor
from experiments.shared.threads import threads_in_force

PACKAGES = ("numpy", "scipy", "pot", "numba", "networkx", "torch", "transformers", "tokenizers", "ott-jax", "cajal")
REPOSITORY = Path(__file__).resolve().parents[2]
Row = dict[str, Any]


def commit() -> str:
    """Commit of the code, marked where code that is measured differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "gwfast", "gwfast_llm", "experiments/*.py")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def environment() -> Row:
    """Versions, hardware and the threads really in force."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads_in_force(),
        "versions": versions,
    }


@lru_cache(maxsize=64)
def _parsed(path: Path, modified: int, size: int) -> tuple[Row, ...]:
    """Rows of a file in the state that the last two arguments name; pages read each record many times."""
    return tuple(json.loads(line) for line in path.read_text().splitlines())


@dataclass(frozen=True)
class Record:
    """The rows of one experiment, kept in two small files.

    Attributes
    ----------
    folder : Path
        Holds `about.json` (configuration of the last start, and every environment that rows were made in) and
        `rows.jsonl`, whose rows name theirs by its place in that list.
    """

    folder: Path

    @property
    def rows(self) -> list[Row]:
        """Rows of the finished jobs; none where nothing was run."""
        path = self.folder / "rows.jsonl"
        if not path.exists():
            return []
        state = path.stat()
        return list(_parsed(path, state.st_mtime_ns, state.st_size))

    @property
    def about(self) -> Row:
        """Configuration and environments; empty before the first start."""
        path = self.folder / "about.json"
        return json.loads(path.read_text()) if path.exists() else {"config": {}, "environments": []}

    def start(self, config: Row) -> None:
        """Write down what is being run, before the first job; what earlier rows were run on stays."""
        self._write(self.about | {"config": config})

    def here(self) -> int:
        """Place of what this process runs on in the list of environments, which grows where it is new."""
        about, own = self.about, environment()
        if own not in about["environments"]:
            about["environments"].append(own)
            self._write(about)
        return about["environments"].index(own)

    def note(self, name: str, value: float) -> None:
        """Keep a number about the record as a whole."""
        self._write(self.about | {name: value})

    def _write(self, about: Row) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")

    def append(self, row: Row) -> None:
        """Add the row of a finished job in one write, so that a kill leaves whole lines.

        Raises
        ------
        ValueError
            When a number is not finite: a missing value is left out, never written as 0 or NaN.
        """
        bad = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
        if bad:
            raise ValueError(f"row {row.get('job')!r}: {', '.join(bad)} not finite")
        with (self.folder / "rows.jsonl").open("a") as file:
            file.write(json.dumps(rounded(row)) + "\n")

    def done(self) -> set[str]:
        """Names of the finished jobs."""
        return {row["job"] for row in self.rows}


def rounded(row: Row) -> Row:
    """Floats to five significant digits: records stay small, and no figure here is known better."""
    return {n: float(f"{v:.5g}") if isinstance(v, float) else v for n, v in row.items()}


def where(rows: Iterable[Row], **values: Any) -> list[Row]:
    """Rows whose fields have these values."""
    return [row for row in rows if all(row.get(n) == v for n, v in values.items())]


def column(rows: Sequence[Row], name: str) -> list[float]:
    """One field of rows, in order of the seed."""
    return [row[name] for row in sorted(rows, key=lambda r: r["seed"])]
