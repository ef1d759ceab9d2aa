"""Point sets of meshes, .ply, .obj and .off, read by meshio or trimesh where one of them is installed."""

from __future__ import annotations

import contextlib
import importlib
import io
from typing import Any

import numpy as np

from gwfast.errors import InputError, MissingPackageError
from gwfast.readers.content import Content, Source, one_line
from gwfast.readers.numbers import points_content


def read_mesh(source: Source) -> Content:
    """Read the vertices of a mesh as points."""
    if source.packed:
        raise InputError(f"{source.path}: expected an unpacked {source.suffix} file; run gunzip first")
    found = [name for name in ("meshio", "trimesh") if _installed(name)]
    if not found:
        raise MissingPackageError(
            f"{source.path}: {source.suffix} files need meshio or trimesh: pip install 'gwfast-ot[meshes]'"
        )
    said = ""
    for name in found:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                points = _VERTICES[name](importlib.import_module(name), str(source.path))
        except (Exception, SystemExit) as error:  # the readers raise many kinds, one of them exits
            said = said or one_line(error)
            continue
        return points_content(Source(source.path, source.suffix, "points"), points, (f"vertices read by {name}",))
    raise InputError(f"{source.path}: expected a {source.suffix} file that {' or '.join(found)} reads ({said})")


def _installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _of_meshio(package: Any, path: str) -> np.ndarray:
    return np.asarray(package.read(path).points, dtype=float)


def _of_trimesh(package: Any, path: str) -> np.ndarray:
    loaded = package.load(path, process=False)  # without it vertices that coincide are merged
    parts = list(loaded.geometry.values()) if hasattr(loaded, "geometry") else [loaded]
    return np.concatenate([np.asarray(part.vertices, dtype=float) for part in parts])


_VERTICES = {"meshio": _of_meshio, "trimesh": _of_trimesh}
