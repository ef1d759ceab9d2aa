"""Several fine-tuned copies of one model merged into one, tensor by tensor, from files to files.

Shapes: M models; every tensor is merged on its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from safetensors import safe_open
from torch import Tensor

from gwfast_llm.models.stored_weights import INDEX, PLAIN, weight_files
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import whole_folder

Method = Literal["linear", "task_arithmetic", "ties"]


@dataclass(frozen=True)
class Recipe:
    """How models are merged.

    Attributes
    ----------
    method : {"linear", "task_arithmetic", "ties"}
        `linear`: sum_m w_m x_m.  `task_arithmetic`: x_0 + scale sum_m w_m (x_m - x_0).  `ties`: of every difference
        x_m - x_0 only the largest entries are kept; at every entry the sign of sum_m w_m d_m is chosen, the differences
        of that sign are averaged with their weights, and x_0 + scale times that mean is taken.
    weights : tuple of float
        w_m, not negative, with sum 1.
    scale : float
        Factor on the merged difference.
    density : float
        Share of the entries of a tensor that `ties` keeps of each difference.
    """

    method: Method
    weights: tuple[float, ...]
    scale: float = 1.0
    density: float = 0.2


def loss_weights(losses: Sequence[float], temperature: float) -> tuple[float, ...]:
    """Weights proportional to exp(-loss / temperature); equal ones for temperature 0.

    Examples
    --------
    >>> [round(w, 3) for w in loss_weights([1.0, 1.1], 0.1)], loss_weights([1.0, 3.0], 0.0)
    ([0.731, 0.269], (0.5, 0.5))
    """
    if not temperature:
        return (1 / len(losses),) * len(losses)
    best = min(losses)
    raw = torch.tensor([(best - one) / temperature for one in losses], dtype=torch.float64).exp()
    return tuple((raw / raw.sum()).tolist())


def merged(base: Tensor | None, tensors: Sequence[Tensor], recipe: Recipe) -> Tensor:
    """Merge one tensor, computed in float32 at least, in the type of the first model's.

    Parameters
    ----------
    base : Tensor or None
        x_0; None where the method needs none.
    tensors : sequence of Tensor
        x_m, all of one shape.
    recipe : Recipe
        The method.
    """
    kind = tensors[0].dtype
    wide = torch.float64 if kind == torch.float64 else torch.float32
    own = [tensor.to(wide) for tensor in tensors]
    if recipe.method == "linear":
        return sum((w * x for w, x in zip(recipe.weights, own)), torch.zeros_like(own[0])).to(kind)
    assert base is not None, "the method starts from it"
    start = base.to(wide)
    gaps = [x - start for x in own]
    if recipe.method == "task_arithmetic":
        change = sum((w * gap for w, gap in zip(recipe.weights, gaps)), torch.zeros_like(start))
        return (start + recipe.scale * change).to(kind)
    kept = [largest_entries(gap, recipe.density) for gap in gaps]
    elected = torch.sign(sum((w * gap for w, gap in zip(recipe.weights, kept)), torch.zeros_like(start)))
    total, number = torch.zeros_like(start), torch.zeros_like(start)
    for w, gap in zip(recipe.weights, kept):
        agrees = (torch.sign(gap) == elected) & (gap != 0)
        total += torch.where(agrees, w * gap, torch.zeros_like(gap))
        number += torch.where(agrees, torch.full_like(gap, w), torch.zeros_like(gap))
    mean = torch.where(number > 0, total / number.clamp_min(torch.finfo(wide).tiny), torch.zeros_like(total))
    return (start + recipe.scale * mean).to(kind)


def largest_entries(values: Tensor, share: float) -> Tensor:
    """The entries of largest size, as many as this share of them, at least one; the others 0."""
    flat = values.flatten()
    if not len(flat):
        return values
    count = min(len(flat), max(1, round(share * len(flat))))
    best = flat.abs().topk(count).indices
    return torch.zeros_like(flat).index_copy(0, best, flat[best]).view(values.shape)


class _Stored:
    """The tensors of a model in a folder, by name."""

    def __init__(self, folder: Path, stack: ExitStack):
        self.folder = folder
        self._files = [stack.enter_context(safe_open(path, "pt")) for path in weight_files(folder)]
        self._where = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118
        self.layout = [(path.name, list(file.keys())) for path, file in zip(weight_files(folder), self._files)]

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def names(self) -> set[str]:
        """Names of all tensors."""
        return set(self._where)

    def shape(self, name: str) -> tuple[list[int], str]:
        """Shape and type of a tensor, without reading it."""
        found = self._where[name].get_slice(name)
        return list(found.get_shape()), str(found.get_dtype())

    def tensor(self, name: str) -> Tensor:
        """Read a tensor."""
        return self._where[name].get_tensor(name)


def merge_folders(base: Path | None, models: Sequence[Path], target: Path, recipe: Recipe) -> None:
    """Merge models in folders into a new folder, which is there whole or not at all.

    Parameters
    ----------
    base : Path or None
        The model they were all made from, its tensors under the same names; None for `linear`.
    models : sequence of Path
        The models; configuration, tokenizer and all else are those of the first.
    target : Path
        The folder; must not exist.
    recipe : Recipe
        The method.

    Raises
    ------
    FusionError
        Where the tensors of the models differ in name or shape, or weights and models in number.

    Notes
    -----
    Memory: the tensors of one name at one time.
    """
    if len(recipe.weights) != len(models):
        raise FusionError(f"merge: there are {len(models)} models and {len(recipe.weights)} weights")
    with ExitStack() as stack:
        stored = [_Stored(folder, stack) for folder in models]
        start = None if base is None or recipe.method == "linear" else _Stored(base, stack)
        if start is None and recipe.method != "linear":
            raise FusionError(f"merge: {recipe.method} starts from the model they were made from; give it")
        others = [*stored[1:], *([start] if start else [])]
        _check_alike(stored[0], others)
        with whole_folder(target) as folder:
            for path in models[0].iterdir():
                if path.is_file() and not path.name.endswith((".safetensors", INDEX)) and path.name != "README.md":
                    shutil.copy2(path, folder / path.name)
            _write_all(folder, stored, start, recipe)


def _check_alike(first: _Stored, others: Sequence[_Stored]) -> None:
    for other in others:
        lacking = sorted(first.names() ^ other.names())
        if lacking:
            raise FusionError(f"merge: {lacking[0]} is not in both {first.folder} and {other.folder}")
        for name in sorted(first.names()):
            one, two = first.shape(name)[0], other.shape(name)[0]
            if one != two:
                raise FusionError(f"merge: {name} has shape {one} in {first.folder} and {two} in {other.folder}")


def _write_all(folder: Path, stored: Sequence[_Stored], start: _Stored | None, recipe: Recipe) -> None:
    where: dict[str, str] = {}
    total = 0
    for file_name, names in stored[0].layout:
        where |= dict.fromkeys(names, file_name)

        def made(names: Sequence[str] = names) -> Iterator[Tensor]:
            for name in names:
                own = [one.tensor(name) for one in stored]
                plain = own[0].dtype in PLAIN.values()
                yield merged(None if start is None else start.tensor(name), own, recipe) if plain else own[0]

        shapes = {name: stored[0].shape(name) for name in names}
        with (folder / file_name).open("wb") as file:
            total += write_streamed(file, shapes, made())
    if len(stored[0].layout) > 1:
        content = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_streamed(file: BinaryIO, shapes: dict[str, tuple[list[int], str]], tensors: Iterator[Tensor]) -> int:
    """Write a safetensors file tensor by tensor; the library itself wants all of them at once.

    Parameters
    ----------
    file : binary file
        Opened for writing.
    shapes : dict of str to (list of int, str)
        Shape and type, as safetensors spells it, of every tensor, in the order of `tensors`.
    tensors : iterator of Tensor
        Their contents.

    Returns
    -------
    int
        Bytes of the contents.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (shape, kind) in shapes.items():
        size = _width(kind)
        for length in shape:
            size *= length
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for (name, _), tensor in zip(shapes.items(), tensors, strict=True):
        content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        first, last = header[name]["data_offsets"]
        assert content.nbytes == last - first, name
        file.write(content.tobytes())
    return at


def _width(kind: str) -> int:
    return PLAIN[kind].itemsize if kind in PLAIN else int(kind.lstrip("UIFBOL").split("_")[0] or 8) // 8
