"""Time that a fusion takes, from the number of its products and an assumed speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gwfast_llm.config import FuseConfig
from gwfast_llm.models.shape import Shape, spell_count
from gwfast_llm.system.progress import spell_time
from gwfast_llm.text.packing import place

SHOWN = 200  # examples that are looked at


@dataclass(frozen=True)
class Batches:
    """Tokens of the first batches.

    Attributes
    ----------
    number : int
        Batches that were looked at.
    used, padded, packed : int
        Tokens of their examples; with padding; with packed rows.
    """

    number: int
    used: int
    padded: int
    packed: int


def first_batches(lengths: Sequence[int], config: FuseConfig) -> Batches:
    """Count the tokens of the first batches, of 200 examples or one batch."""
    size, number, used, padded, packed = config.train.batch_size, 0, 0, 0, 0
    for first in range(0, min(len(lengths), max(size, SHOWN)), size):
        own = lengths[first : first + size]
        places = place(own, config.data.max_length)
        width = max(start + length for (_, start), length in zip(places, own))
        number += 1
        used += sum(own)
        padded += len(own) * max(own)
        packed += (1 + max(row for row, _ in places)) * width
    return Batches(number, used, padded, packed)


def tokens_a_step(config: FuseConfig, batches: Batches) -> float:
    """Tokens that the pivot reads in a step on one GPU, padding included."""
    return config.train.accumulate * (batches.packed if config.train.packing else batches.padded) / batches.number


def operations_a_token(config: FuseConfig) -> int:
    """Operations a weight and token."""
    return (4 if config.lora.rank else 6) + (2 if config.train.gradient_checkpointing else 0)


def operations_a_step(config: FuseConfig, shape: Shape, batches: Batches) -> float:
    """Operations of a step on one GPU."""
    return operations_a_token(config) * shape.weights * tokens_a_step(config, batches)


def training_time(config: FuseConfig, shape: Shape, batches: Batches, tflops: float, gpus: int) -> str:
    """Say how long the steps take.

    Six operations a weight and token: two in the forward pass, four in the backward pass; two less where only adapters
    are trained, two more where the forward pass is made again.
    """
    train = config.train
    tokens, each = train.steps * tokens_a_step(config, batches), operations_a_token(config)
    seconds = train.steps * operations_a_step(config, shape, batches) / (tflops * 1e12)
    examples = train.steps * train.accumulate * train.batch_size * gpus
    return (
        f"time: {train.steps} steps, {spell_count(tokens)} tokens on each GPU x {each} x {spell_count(shape.weights)} "
        f"weights, at {tflops:g} TFLOP/s a GPU (an assumption: --tflops): {_about(seconds)}, in which "
        f"{gpus} GPU{'s' * (gpus > 1)} see{'s' * (gpus == 1)} {examples} examples; checkpoints, evaluation and what "
        "GPUs send to each other come on top"
    )


def _about(seconds: float) -> str:
    return f"about {spell_time(seconds)}" if seconds >= 1 else "less than a second"


def teacher_time(label: str, shape: Shape, lengths: Sequence[int], tflops: float) -> str:
    """Say how long one pass of a source over the data takes: two operations a weight and token."""
    tokens = sum(lengths)
    seconds = 2 * shape.weights * tokens / (tflops * 1e12)
    return (
        f"source {label}: one pass over the data is {spell_count(tokens)} tokens x 2 x {spell_count(shape.weights)} "
        f"weights: {_about(seconds)} on one GPU"
    )
