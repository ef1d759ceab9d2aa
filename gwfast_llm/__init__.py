"""Fuse language models of any tokenizer into one by logit distillation.

``uld_loss`` and ``gld_loss`` work on plain logit tensors in anybody's training loop; the commands
``python -m gwfast_llm.fuse`` and its siblings are built from the same functions.  A term of your own is a subclass of
``Term`` that ``register_term`` makes known.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gwfast_llm.config import (
        DataConfig,
        FuseConfig,
        LoraConfig,
        ModelConfig,
        ObjectiveConfig,
        SourceConfig,
        TrainConfig,
    )
    from gwfast_llm.models.logits import Selection, TopK, select, top_k
    from gwfast_llm.system.errors import FusionError, InterruptedFusion
    from gwfast_llm.teachers.online import OnlineSource
    from gwfast_llm.teachers.signal import Signal, Source
    from gwfast_llm.teachers.store import StoredSource
    from gwfast_llm.terms.batch import Batch
    from gwfast_llm.terms.gld import GraphOptions, gld_loss, gld_part
    from gwfast_llm.terms.gld_aligned import gld_aligned_part
    from gwfast_llm.terms.hellinger import hellinger_part
    from gwfast_llm.terms.hybrid import hybrid_part
    from gwfast_llm.terms.objective import Objective
    from gwfast_llm.terms.part import Part
    from gwfast_llm.terms.path import kl_part
    from gwfast_llm.terms.sft import sft_part
    from gwfast_llm.terms.table import TERMS, register_term
    from gwfast_llm.terms.term import Needs, Student, Term
    from gwfast_llm.terms.uld import uld_loss, uld_part
    from gwfast_llm.training.fusion import Fused, fuse
    from gwfast_llm.training.trainer import FusionTrainer

_HOMES = {
    "config": "DataConfig FuseConfig LoraConfig ModelConfig ObjectiveConfig SourceConfig TrainConfig",
    "system.errors": "FusionError InterruptedFusion",
    "models.logits": "Selection TopK select top_k",
    "teachers.online": "OnlineSource",
    "teachers.signal": "Signal Source",
    "teachers.store": "StoredSource",
    "terms.batch": "Batch",
    "terms.gld": "GraphOptions gld_loss gld_part",
    "terms.gld_aligned": "gld_aligned_part",
    "terms.hellinger": "hellinger_part",
    "terms.hybrid": "hybrid_part",
    "terms.objective": "Objective",
    "terms.part": "Part",
    "terms.path": "kl_part",
    "terms.sft": "sft_part",
    "terms.table": "TERMS register_term",
    "terms.term": "Needs Student Term",
    "terms.uld": "uld_loss uld_part",
    "training.fusion": "Fused fuse",
    "training.trainer": "FusionTrainer",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "TERMS",
    "Batch",
    "DataConfig",
    "FuseConfig",
    "Fused",
    "FusionError",
    "FusionTrainer",
    "GraphOptions",
    "InterruptedFusion",
    "LoraConfig",
    "ModelConfig",
    "Needs",
    "Objective",
    "ObjectiveConfig",
    "OnlineSource",
    "Part",
    "Selection",
    "Signal",
    "Source",
    "SourceConfig",
    "StoredSource",
    "Student",
    "Term",
    "TopK",
    "TrainConfig",
    "fuse",
    "gld_aligned_part",
    "gld_loss",
    "gld_part",
    "hellinger_part",
    "hybrid_part",
    "kl_part",
    "register_term",
    "select",
    "sft_part",
    "top_k",
    "uld_loss",
    "uld_part",
]


def __getattr__(name: str) -> Any:
    """Find a public name on first use, so that ``--help`` does not wait for torch."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    """The package: ``gwfast_llm.fuse`` is the function, also once the command's module of that name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name == "fuse" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
