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
    name, package = _package(source)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if name == "meshio":
                vertices = package.read(source.path).points
            else:
                vertices = package.load(str(source.path), process=False).vertices
            points = np.asarray(vertices, dtype=float)
    except (Exception, SystemExit) as error:  # the readers raise many kinds, one of them exits
        said = one_line(error)
        raise InputError(f"{source.path}: expected a {source.suffix} file that {name} reads ({said})") from None
    return points_content(Source(source.path, source.suffix, "points"), points, (f"vertices read by {name}",))


def _package(source: Source) -> tuple[str, Any]:
    for name in ("trimesh", "meshio"):
        try:
            return name, importlib.import_module(name)
        except ImportError:
            continue
    raise MissingPackageError(
        f"{source.path}: {source.suffix} files need meshio or trimesh: pip install 'gwfast-ot[meshes]'"
    )
