"""What a reader is given, and what it hands back."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwfast.errors import InputError

KINDS = ("edges", "matrix", "adjacency", "points")
_LARGEST = 4 * 2**30  # bytes of an unpacked file


@dataclass(frozen=True)
class Source:
    """A file, and how the caller wants it read.

    Attributes
    ----------
    path : Path
    suffix : str
        The ending that names the format, in small letters, without ".gz".
    kind : str or None
        One of `KINDS`; None where the reader decides and says how.
    directed : bool
        Whether a list of edges has directions.
    member : str
        Name of an array in an archive.
    """

    path: Path
    suffix: str
    kind: str | None = None
    directed: bool = False
    member: str = ""

    @property
    def packed(self) -> bool:
        """Whether the file is gzipped."""
        return self.path.suffix.lower() == ".gz"

    def read(self) -> bytes:
        """Return the bytes of the file, unpacked."""
        if not self.packed:
            return self.path.read_bytes()
        try:
            with gzip.open(self.path) as file:
                data = file.read(_LARGEST + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{self.path}: expected a gzip file ({error}); unpack it first") from None
        if len(data) > _LARGEST:
            raise InputError(f"{self.path}: unpacks to more than {_LARGEST >> 30} GiB; unpack it first")
        return data


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds.

    Attributes
    ----------
    value : networkx graph, array (n, n) or array (n, d)
    kind : {"graph", "matrix", "points"}
        Which of them.
    said : str
        How the file was read, and which flag reads it otherwise.
    labels : list of str or None
        Names of the points, where the file has them.
    length : str or None
        Edge attribute that counts as length unless the caller says otherwise.
    offer : str
        Which flag makes lengths of other attributes; said where the caller names none.
    """

    value: Any
    kind: str
    said: str
    labels: list[str] | None = None
    length: str | None = None
    offer: str = ""


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks, at most 160 characters of it."""
    said = " ".join(str(error).split()) or type(error).__name__
    if "allow_pickle" in said:
        said = "it is another file, or holds Python objects"
    return said if len(said) <= 160 else said[:157] + "..."
