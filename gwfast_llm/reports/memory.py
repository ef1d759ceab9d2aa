"""Memory that training takes on each GPU, by a formula from sizes alone.

What is counted: weights, gradients and AdamW's two moments of what is trained; the numbers that the layers keep for the
backward pass; logits; sources that run.  What is not: what a library or a driver holds for itself, and fragments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from gwfast_llm.config import FuseConfig
from gwfast_llm.models.output_layer import automatic_chunk
from gwfast_llm.models.shape import Shape
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.packing import place

# bytes that a layer keeps a token for each input and output of its linear layers: measured on Llama and Qwen2 layers;
# those of GPT-2 and Gemma 2 keep up to twice as much
KEPT_FLOAT32, KEPT_BFLOAT16 = 4.5, 3.3
NF4 = 0.516  # bytes of a weight in 4 bits, with its share of the scales
WHOLE_COPIES, CHUNK_COPIES = 5, 4  # float32 tensors of the size of the logits that are alive at one time, at most
WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU while the pivot is trained.

    Attributes
    ----------
    weights : float
        Of the pivot, with their copies in bfloat16 and what is gathered of other processes' shards.
    gradients, optimiser : float
        Of the trained weights.
    activations, logits : float
        Of one batch.
    sources : float
        Weights of the sources that run.
    diagnosis : float
        What ``train.diagnose`` needs in all before the first step.
    """

    weights: float
    gradients: float
    optimiser: float
    activations: float
    logits: float
    sources: float
    diagnosis: float

    @property
    def total(self) -> float:
        """All of it while training."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.logits + self.sources


def computes_in_half(config: FuseConfig, shape: Shape) -> bool:
    """Whether the pivot computes in bfloat16: asked for, or trained whole and stored so."""
    return config.train.bf16 or (not config.lora.rank and shape.dtype == "bfloat16")


def largest_batch(lengths: Sequence[int], config: FuseConfig) -> tuple[int, int]:
    """Tokens that the model reads of the largest batch, and tokens without packing, (B, L)."""
    longest = sorted(lengths, reverse=True)[: config.train.batch_size]
    plain = len(longest) * longest[0]
    if not config.train.packing:
        return plain, plain
    places = place(longest, config.data.max_length)
    rows, width = 1 + max(row for row, _ in places), max(s + n for (_, s), n in zip(places, longest))
    return rows * width, plain


def chosen_chunk(config: FuseConfig, shape: Shape, tokens: int) -> int:
    """Positions at which logits exist at one time; 0 for the whole batch."""
    if config.train.chunk >= 0:
        return config.train.chunk
    return 0 if Objective.of(config.objective, 1).needs.whole else automatic_chunk(tokens, shape.vocabulary)


def memory_of(config: FuseConfig, shape: Shape, lengths: Sequence[int], sources: float = 0.0) -> Memory:
    """Memory of a run on one GPU.

    Parameters
    ----------
    config : FuseConfig
        The run.
    shape : Shape
        The pivot's.
    lengths : sequence of int
        Tokens of every example under the pivot's tokenizer.
    sources : float
        Bytes of the sources that run.
    """
    half, lora = computes_in_half(config, shape), config.lora
    trained = lora.rank * shape.adapted if lora.rank else shape.weights
    width = WIDTHS.get(shape.dtype, 4) if lora.rank else 4  # trained weights are held in float32
    weights = float(width * shape.weights)
    if lora.four_bit:
        weights = NF4 * shape.linear + 4.0 * (shape.weights - shape.linear)
    elif half and width == 4:
        weights += 2.0 * shape.linear
    if lora.rank:
        weights += 4.0 * trained
    read, plain = largest_batch(lengths, config)
    layer = read * shape.widths / shape.layers * (KEPT_BFLOAT16 if half else KEPT_FLOAT32)
    if config.train.gradient_checkpointing:
        activations = layer + read * shape.hidden * shape.layers * (2.0 if half and width == 2 else 4.0)
    else:
        activations = layer * shape.layers
    chunk = chosen_chunk(config, shape, plain)
    logits = 4.0 * shape.vocabulary * (CHUNK_COPIES * min(chunk, plain) if chunk else WHOLE_COPIES * plain)
    measures = bool(config.data.validation and config.train.diagnose)
    diagnosis = weights + 16.0 * trained + activations / config.train.batch_size + sources if measures else 0.0
    limited = any(own.term.most for own in Objective.of(config.objective, 1).terms)  # measured in a second buffer
    return Memory(weights, (8.0 if limited else 4.0) * trained, 8.0 * trained, activations, logits, sources, diagnosis)


def copied(memory: Memory, gpus: int) -> Memory:
    """The same on each of several GPUs that hold the whole model: its gradients are sent from a second buffer."""
    return dataclasses.replace(memory, gradients=memory.gradients * (2 if gpus > 1 else 1))


def sharded(memory: Memory, config: FuseConfig, shape: Shape, gpus: int) -> Memory:
    """The same on each of several GPUs that hold a share of weights, gradients and moments.

    Two layers, the embedding and the output layer are gathered at one time, with the gradients of one layer and of
    those two before they are spread.  Sources that run are whole on every GPU.
    """
    half, lora = computes_in_half(config, shape), config.lora
    stored = WIDTHS.get(shape.dtype, 4) * shape.weights if lora.rank else 4 * shape.weights
    adapters = 4.0 * lora.rank * shape.adapted
    gathered = (2 if half else 4) * (2 * shape.layer + shape.outer)
    spread = 0.0 if lora.rank else (2 if half else 4) * (shape.layer + shape.outer)
    return dataclasses.replace(
        memory,
        weights=(stored + adapters) / gpus + gathered,
        gradients=memory.gradients / gpus + spread,
        optimiser=memory.optimiser / gpus,
        diagnosis=0.0,
    )


ROWS = ("weights", "gradients", "optimiser", "activations", "logits", "sources", "total")


def table(columns: dict[str, Memory]) -> list[str]:
    """Lines of a table with a column for each way to train."""
    cells = [["", *columns]]
    cells += [[name, *(spell_bytes(getattr(memory, name)) for memory in columns.values())] for name in ROWS]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    return [
        "  " + row[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        for row in cells
    ]
