"""Records of tensors that are moved between devices as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tensors:
    """Base of records whose fields are tensors, further records, dictionaries of those, or anything else."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Apply a function to every tensor of the record and of the records in it."""
        found = {f.name: _mapped(getattr(self, f.name), change) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **found)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Put every tensor into pinned memory; `torch.utils.data.DataLoader` calls this."""
        return self.map(lambda tensor: tensor.pin_memory())


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Tensors):
        return value.map(change)
    if isinstance(value, dict):
        return {name: _mapped(own, change) for name, own in value.items()}
    return value
