"""Room on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from gwfast_llm.cache import spell_bytes
from gwfast_llm.errors import FusionError


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
