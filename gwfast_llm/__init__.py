"""Fuse language models of any tokenizer into one by logit distillation.

``uld_loss`` and ``gld_loss`` work on plain logit tensors in anybody's training loop; the commands
``python -m gwfast_llm.fuse`` and its siblings are built from the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gwfast_llm.errors import FusionError
    from gwfast_llm.terms.losses import gld_loss, uld_loss

__all__ = ["FusionError", "gld_loss", "uld_loss"]

_HOMES = {
    "FusionError": "gwfast_llm.errors",
    "gld_loss": "gwfast_llm.terms.losses",
    "uld_loss": "gwfast_llm.terms.losses",
}


def __getattr__(name: str) -> Any:
    """Find a public name on first use, so that ``--help`` does not wait for torch."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
