"""Where built things are kept, and how a folder comes into being whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Folder for things worth keeping between runs.

    ``$GWFAST_CACHE`` where set, else ``$XDG_CACHE_HOME/gwfast``, else ``~/.cache/gwfast``.
    """
    own = os.environ.get("GWFAST_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "gwfast"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target`, renamed to `target` when the block ends well.

    Whatever ends the block early (an error, Ctrl-C) removes the temporary folder: a reader sees a finished folder
    or none.  When somebody else finished the same folder in the meantime, theirs is kept.

    Parameters
    ----------
    target : Path
        Folder to create; its parents are made.

    Yields
    ------
    Path
        The temporary folder to fill.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield scratch
        scratch.chmod(0o755)  # mkdtemp makes a private folder; a result is an ordinary one
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
