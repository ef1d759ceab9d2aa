"""Files and folders that are written whole or not at all, JSON objects read from disk, and checksums of folders."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gwfast_llm.system.errors import FusionError

PARTIAL = ".partial"  # what a file is called while it is written


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its name and move it there: a reader sees the old one or the whole new one.

    Parameters
    ----------
    path : Path
        Where it goes; a link of that name is replaced, not followed.
    write : callable
        Writes to the path that it is given.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}{path.suffix}")
    try:
        partial.unlink(missing_ok=True)  # a link left there would be written through
        write(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_object(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a folder beside `target` that is renamed to `target` when the block ends well, and removed otherwise.

    Parameters
    ----------
    target : Path
        Folder to create, in a folder that only this process writes to; what a kill has left of it is removed first.

    Yields
    ------
    Path
        The folder to fill.
    """
    partial = target.with_name(f".{target.name}{PARTIAL}")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def read_object(path: Path, advice: str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Parameters
    ----------
    path : Path
        The file.
    advice : str
        What to do when it cannot be used.

    Raises
    ------
    FusionError
        When it cannot be read or holds anything else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise FusionError(f"{path} cannot be read ({problem.strerror}); {advice}") from None
    except (ValueError, RecursionError):  # no UTF-8, no JSON, numbers of thousands of digits, brackets without end
        raise FusionError(f"{path} is damaged: it is not JSON; {advice}") from None
    if not isinstance(found, dict):
        raise FusionError(f"{path} is damaged: it holds a {type(found).__name__} and no JSON object; {advice}")
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path, mark: str) -> None:
    """Write size and SHA-256 of every file of a folder into the file `mark` in it, which says that it is whole."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != mark]
    with ThreadPoolExecutor(4) as pool:
        sums = pool.map(digest, paths)
        entries = {str(path.relative_to(folder)): [path.stat().st_size, found] for path, found in zip(paths, sums)}
    write_object(folder / mark, entries)


def unsound(folder: Path, mark: str) -> str:
    """What is wrong with a folder that `write_checksums` has marked; empty where it is as it was.

    Returns
    -------
    str
        The first bad file and what is wrong with it, for a sentence that starts with them.
    """
    try:
        entries = read_object(folder / mark, "")
    except FusionError:
        return f"{folder / mark} is missing or damaged"
    if not entries:
        return f"{folder / mark} lists no files"

    def wrong(name: str) -> str:
        path, entry = folder / name, entries[name]
        try:
            if not path.is_file():
                return f"{path} is missing"
            if [path.stat().st_size, digest(path)] == entry:
                return ""
        except OSError as problem:
            return f"{path} cannot be read ({problem.strerror})"
        return f"{path} is damaged (its checksum is another)"

    with ThreadPoolExecutor(4) as pool:
        return next((found for found in pool.map(wrong, sorted(entries)) if found), "")
