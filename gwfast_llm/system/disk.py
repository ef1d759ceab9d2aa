"""Room on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from gwfast_llm.system.errors import FusionError


def require_room(folder: Path, needed: int, there: int, what: str, fix: str = "") -> None:
    """Refuse a run that needs more than what is free on the disk of a folder and what is there already.

    Raises
    ------
    FusionError
    """
    free = shutil.disk_usage(folder).free + there
    if needed > free:
        raise FusionError(
            f"the run needs about {spell_bytes(needed)} for {what}, {spell_bytes(free)} are free at "
            f"{folder.absolute()}; make room, give --runs on another disk{fix}"
        )


def spell_bytes(size: float) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> spell_bytes(512), spell_bytes(7.2e6)
    ('512 B', '7.2 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
