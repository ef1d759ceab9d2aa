"""The second stage: the pivot with its weights, and what adapters and an output layer in chunks make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import set_seed

from gwfast_llm.config import FuseConfig
from gwfast_llm.models.loading import check_vocabulary, filled_by_another, held_note, load_in_four_bits, load_to_train
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.models.separate import check_separate
from gwfast_llm.system.errors import FusionError
from gwfast_llm.training.arguments import chunk_of, computes_in_bfloat16, with_adapters
from gwfast_llm.training.prepare import Prepared


@dataclass(frozen=True)
class LoadedPivot:
    """The pivot as it was loaded.

    Attributes
    ----------
    model : transformers.PreTrainedModel
        Its weights.
    bf16 : bool
        Whether it computes in bfloat16.
    chunk : int
        Positions at which logits exist at one time; 0 for whole logits.
    note : str
        In which type it is held, where that is not the one it came in.
    """

    model: Any
    bf16: bool
    chunk: int
    note: str


def load_pivot(prepared: Prepared) -> LoadedPivot:
    """Load the pivot of a run and check it.

    Raises
    ------
    FusionError
        When the model and its tokenizer do not fit, or packed examples would see each other.
    """
    config, rank = prepared.config, prepared.config.lora.rank
    if config.lora.four_bit:
        came = torch.bfloat16 if config.train.bf16 else torch.float32
        model = load_in_four_bits(config.pivot, came)
    else:
        model, came = load_to_train(config.pivot, bool(rank))
    note = "" if rank else held_note(config.pivot, came)
    check_vocabulary("pivot", model, prepared.tokenizer)
    chunk = chunk_of(config, model, max(len(row.ids) for row in prepared.rows))
    if config.train.packing and not filled_by_another():
        check_separate(model)
    bf16 = config.train.bf16 or (not rank and computes_in_bfloat16(came))
    return LoadedPivot(model, bf16, chunk, note)


@dataclass(frozen=True)
class TrainablePivot:
    """The pivot as it is trained.

    Attributes
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        With its adapters, where it has any.
    head : ChunkedHead or None
        Its output layer in chunks.
    """

    model: Any
    head: ChunkedHead | None


def with_training_aids(loaded: LoadedPivot, config: FuseConfig) -> TrainablePivot:
    """Put adapters, gradient checkpointing and an output layer in chunks on a pivot.

    Raises
    ------
    FusionError
        When the targets of the adapters do not exist, or the output layer cannot work in chunks.
    """
    model = loaded.model
    if config.train.gradient_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
        if config.lora.rank:
            model.enable_input_require_grads()
    if config.lora.rank:
        set_seed(config.train.seed)  # adapters start at random; the trainer sets its seed later
    adapted = with_adapters(model, config.lora)
    return TrainablePivot(adapted, head_in_chunks(model, loaded.chunk) if loaded.chunk else None)


def head_in_chunks(model: Any, chunk: int) -> ChunkedHead:
    """Let the output layer of a model work in chunks.

    Raises
    ------
    FusionError
        When what the model does to its logits cannot be found out.
    """
    try:
        return ChunkedHead(model, chunk)
    except FusionError as problem:
        raise FusionError(f"{problem}; use --train.chunk 0") from None
