"""The table of endings and readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gwfast.errors import InputError
from gwfast.readers.arrays import read_npy, read_npz
from gwfast.readers.content import Content, Source
from gwfast.readers.matrix_market import read_mtx
from gwfast.readers.meshes import read_mesh
from gwfast.readers.networks import read_edgelist, read_network
from gwfast.readers.tables import read_table

READERS: dict[str, Callable[[Source], Content]] = {
    ".csv": read_table,
    ".tsv": read_table,
    ".txt": read_edgelist,
    ".edgelist": read_edgelist,
    ".npy": read_npy,
    ".npz": read_npz,
    ".mtx": read_mtx,
    ".graphml": read_network,
    ".gml": read_network,
    ".gexf": read_network,
    ".net": read_network,
    ".ply": read_mesh,
    ".obj": read_mesh,
    ".off": read_mesh,
}


def read_file(name: str, kind: str | None = None, directed: bool = False) -> Content:
    """Read a file by its ending; ".gz" after it is unpacked, and FILE.npz:NAME takes one array of an archive.

    Parameters
    ----------
    name : str
        Path.
    kind : str or None
        One of `KINDS`, to read a table or an array as it; None lets its shape decide.
    directed : bool
        Whether lists of edges have directions.

    Returns
    -------
    Content

    Raises
    ------
    InputError
        The file is not there, or not of the kind that its ending says.

    Notes
    -----
    Time and memory are those of the file's size.

    Examples
    --------
    >>> from gwfast.readers.formats import READERS
    >>> ".mtx" in READERS
    True
    """
    path, member = Path(name), ""
    if ".npz:" in name and not path.exists():
        start, _, member = name.rpartition(":")
        path = Path(start)
    suffixes = [s.lower() for s in path.suffixes]
    suffix = (suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes)[-1:]
    if not suffix or suffix[0] not in READERS:
        raise InputError(f"{name}: expected a built-in name or a file ending in {', '.join(READERS)}")
    if path.is_dir():
        raise InputError(f"{name}: expected a file, found a folder")
    if not path.is_file():
        raise InputError(f"{name}: no such file; check the path")
    content = READERS[suffix[0]](Source(path, suffix[0], kind, directed, member))
    return content
