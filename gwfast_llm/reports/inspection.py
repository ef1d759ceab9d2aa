"""What a fusion will look like and cost: tokenizers, alignment, memory, caches; no weights are loaded."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from gwfast_llm.config import FuseConfig, ObjectiveConfig
from gwfast_llm.models.elsewhere import is_elsewhere
from gwfast_llm.models.loading import check_weights, held_note
from gwfast_llm.models.shape import Shape, shape_of, spell_count
from gwfast_llm.reports.duration import SHOWN, Batches, first_batches, teacher_time, training_time
from gwfast_llm.reports.memory import WIDTHS, chosen_chunk, copied, largest_batch, memory_of, sharded, table
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.system.errors import one_line
from gwfast_llm.teachers.path import shared_tokens
from gwfast_llm.teachers.shards import MANIFEST
from gwfast_llm.teachers.store import bytes_per_token
from gwfast_llm.teachers.targets import target_bytes
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.alignment import matched_starts
from gwfast_llm.text.examples import Encoded, end_token_of
from gwfast_llm.training.loggers import check_loggers
from gwfast_llm.training.opening import weights_of
from gwfast_llm.training.prepare import PreparedRun, prepare_run
from gwfast_llm.training.sources import carried_beforehand, kept_logits, open_source, open_targets

CACHE = "python -m gwfast_llm.cache"
RECOMMENDED = ObjectiveConfig(preset="path").weights
EVIDENCE = "best on held-out text of our small benchmark, no rival significantly better on real weights (w = 1)"
BREAK = "\\n"
OPENING, OPENING_LINES = 60, 4  # tokens and lines of a prompt that are shown


def inspected(config: FuseConfig, gpus: int, tflops: float) -> Iterator[str]:
    """Look at a fusion.

    Parameters
    ----------
    config : FuseConfig
        The fusion.
    gpus : int
        GPUs that train it.
    tflops : float
        TFLOP/s that each of them reaches.

    Yields
    ------
    str
        One finding after the other, some of several lines.

    Raises
    ------
    FusionError
        When something would stop the run.
    """
    Objective.of(config.objective, 1)
    check_loggers(config.train.report_to)
    for model in (config.pivot, *config.sources):
        check_weights(model)
    run = prepare_run(config, config.sources)
    train = dataclasses.replace(config.train, steps=config.train.steps_on(run.size, gpus), epochs=0.0)
    config = dataclasses.replace(config, train=train)
    yield f"objective {config.objective.preset}: {recommendation(config)}"
    yield f"{run.size} training examples, {len(run.examples) - run.size} held out"
    for note in (*run.notes, *weights_of(config.sources, config.objective.routing)[1]):
        yield f"note: {one_line(note)}"
    labels = ["pivot", *(f"source {source.label}" for source in config.sources)]
    for label, tokenizer, rows in zip(labels, run.tokenizers, run.rows):
        tokens = [len(row.ids) for row in rows]
        answers = [len(row.ids) - row.prompt_length for row in rows]
        yield (
            f"{label}: {len(tokenizer)} tokens in the vocabulary, chat template {yes(tokenizer.chat_template)}, "
            f"answers closed by {closing(tokenizer, config, run)}, "
            f"{sum(answers) / len(answers):.1f} answer tokens an example (longest sample {max(tokens)})"
        )
    batches = first_batches([len(row.ids) for row in run.rows[0][: run.size]], config)
    yield padding(batches, config)
    yield openings(run, labels)
    yield example_lines(run, labels)
    for k, source in enumerate(config.sources, 1):
        yield alignment(run, k, source.label)
    here = [k for k, source in enumerate(config.sources) if not is_elsewhere(source)]
    shapes = [shape_of(config.pivot, config.lora), *(shape_of(config.sources[k]) for k in here)]
    yield memory(config, run, shapes, gpus)
    yield training_time(config, shapes[0], batches, tflops, gpus)
    for number, source in enumerate(config.sources):
        if number not in here:
            yield f"source {source.label}: {'served' if source.served else 'its weights are not here'}"
            yield cache_line(config, number, run)
            continue
        shape = shapes[1 + here.index(number)]
        size = spell_bytes(WIDTHS.get(shape.dtype, 4) * shape.weights)
        yield f"source {source.label}: {spell_count(shape.weights)} weights, {size} in {shape.dtype}"
        yield teacher_time(source.label, shape, [len(row.ids) for row in run.rows[1 + number]], tflops)
        yield cache_line(config, number, run)


def closing(tokenizer: Any, config: FuseConfig, run: PreparedRun) -> str:
    """Token that closes every answer under a tokenizer, in words."""
    if not config.data.end_token:
        return "nothing (data.end_token false)"
    chat = any(example.messages for example in run.examples)
    return str(tokenizer.convert_ids_to_tokens(end_token_of(tokenizer, chat)))


def yes(value: Any) -> str:
    """Write a truth value for people."""
    return "yes" if value else "no"


def recommendation(config: FuseConfig) -> str:
    """Say what the chosen objective is and which one is recommended."""
    parts = ", ".join(f"{weight:g} {name}" for name, weight in config.objective.weights.items() if weight)
    if config.objective.weights == RECOMMENDED:
        return f"{parts}; recommended: {EVIDENCE}"
    return f"{parts}; preset path (CE + 3 path-KL) is the recommended one: {EVIDENCE}"


def example_lines(run: PreparedRun, labels: Sequence[str]) -> str:
    """The first answer under every tokenizer, cut into tokens; in two colours on a terminal."""
    lines = ["the first answer, cut into tokens:"]
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = run.examples[0].response.encode()
    for label, rows in zip(labels, run.rows):
        cuts = [0, *rows[0].ends[:12]]
        pieces = [text[a:b].decode(errors="replace") for a, b in pairwise(cuts) if 0 <= a <= b]
        lines.append(f"  {label}: {spans([piece.replace(chr(10), BREAK) for piece in pieces], colours)}")
    return "\n".join(lines)


def spans(pieces: Sequence[str], colours: bool) -> str:
    r"""Pieces of a text, apart by colour or by a line between them.

    Examples
    --------
    >>> spans(["ab", "c"], False), spans(["ab", "c"], True)
    ('ab|c', '\x1b[30;46mab\x1b[0m\x1b[30;43mc\x1b[0m')
    """
    if not colours:
        return "|".join(pieces)
    return "".join(f"\x1b[30;{(46, 43)[k % 2]}m{piece}\x1b[0m" for k, piece in enumerate(pieces))


def padding(batches: Batches, config: FuseConfig) -> str:
    """Share of the tokens in a batch that are padding, with packed rows and without."""
    plain, less = f"{1 - batches.used / batches.padded:.0%}", f"{1 - batches.used / batches.packed:.0%}"
    if config.train.packing:
        return f"pivot: {less} of a batch's tokens are padding, {plain} without packing"
    return f"pivot: {plain} of a batch's tokens are padding, {less} with --train.packing true"


def openings(run: PreparedRun, labels: Sequence[str]) -> str:
    """First lines of the first prompt as each model reads it, marks included."""
    lines = ["the first prompt as each model reads it:"]
    for label, tokenizer, rows in zip(labels, run.tokenizers, run.rows):
        text = tokenizer.decode(rows[0].ids[: rows[0].prompt_length][:OPENING])
        shown = text.splitlines()[:OPENING_LINES] or [""]
        more = len(text.splitlines()) > OPENING_LINES or rows[0].prompt_length > OPENING
        lines.append(f"  {label}: " + " / ".join(one_line(line) for line in shown) + " ..." * more)
    return "\n".join(lines)


def alignment(run: PreparedRun, k: int, label: str) -> str:
    """How many pivot tokens start where a token of source `k` starts, on the first examples."""
    matched = total = 0
    for pivot, source in zip(run.rows[0][:SHOWN], run.rows[k][:SHOWN]):
        matched += len(matched_starts(pivot.ends, source.ends))
        total += len(pivot.answer)
    shared = shared_tokens(run.tokenizers[0], run.tokenizers[k])
    alike = float(shared.in_pivot.float().mean())
    warning = "" if matched > 0.3 * total else "; warning: few positions can be distilled at"
    return (
        f"source {label}: {matched / total:.0%} of the pivot's answer tokens start where one of the source's does, "
        f"{alike:.0%} of the pivot's vocabulary is spelled the same in the source's{warning}"
    )


def memory(config: FuseConfig, run: PreparedRun, shapes: Sequence[Shape], gpus: int) -> str:
    """Memory of training on each GPU: one alone, several with copies, several with shards."""
    shape, lora = shapes[0], config.lora
    lengths = [len(row.ids) for row in run.rows[0]]
    running = sum(
        WIDTHS.get(own.dtype, 4) * own.weights
        for source, own in zip([s for s in config.sources if not is_elsewhere(s)], shapes[1:])
        if not source.cache and Objective.of(config.objective, 1).needs.sources
    )
    alone = memory_of(config, shape, lengths, running)
    columns = {"1 GPU": alone}
    if gpus > 1:
        columns[f"{gpus} GPUs, copies"] = copied(alone, gpus)
        if not lora.four_bit:
            columns[f"{gpus} GPUs, shards"] = sharded(alone, config, shape, gpus)
    read, plain = largest_batch(lengths, config)
    chunk = chosen_chunk(config, shape, plain)
    kind = "4 bits" if lora.four_bit else shape.dtype if lora.rank else "float32"
    trained = f"adapters of rank {lora.rank} are trained" if lora.rank else "all are trained"
    lines = [
        f"pivot: {spell_count(shape.weights)} weights in {kind}, {trained}; largest batch {read} tokens, logits "
        f"{f'of {chunk} positions at a time' if chunk else 'of the whole batch'}; estimated memory of each GPU:",
        *table(columns),
    ]
    if gpus > 1:
        lines.append("; ".join(f"{name}: {spell_bytes(own.total)} each" for name, own in list(columns.items())[1:]))
        lines.append(
            "copies: accelerate launch without a file (DDP), every GPU holds the whole model; shards: "
            "examples/accelerate/fsdp2.yaml or zero3.yaml, weights, gradients and moments are divided by the GPUs"
        )
    if alone.diagnosis > alone.total:
        lines.append(
            f"before the first step the diagnosis takes {spell_bytes(alone.diagnosis)} (not with shards); "
            "--train.diagnose 0 leaves it out"
        )
    if not lora.rank and (note := held_note(config.pivot, getattr(torch, shape.dtype))):
        lines.append(note)
    if any(own.experts for own in shapes):
        lines.append("note: a model of experts uses a part of its weights for a token; the estimates count all of them")
    return "\n".join(lines)


def cache_line(config: FuseConfig, number: int, run: PreparedRun) -> str:
    """Size of a source's cache, and whether it and the targets in it are there."""
    source, tokenizer, rows = config.sources[number], run.tokenizers[1 + number], run.rows[1 + number]
    folder = one_line(source.cache)
    keep = kept_logits(config, tokenizer)
    size = spell_bytes(_answer_tokens(rows) * bytes_per_token(keep, "float16"))
    if not source.cache:
        return f"source {source.label}: runs during training; a cache of {keep} logits a token would take {size}"
    carried = ""
    if carried_beforehand(config, number, run):
        most = _answer_tokens(run.rows[0]) * target_bytes(kept_logits(config, run.tokenizers[0]), "float16")
        carried = f"its targets take at most {spell_bytes(most)} more"
    if not (Path(source.cache).expanduser() / MANIFEST).is_file():
        more = f", {carried}" if carried else ""
        return f"source {source.label}: no cache at {folder} yet; it will take {size}{more}: {CACHE}"
    stored = open_source(source, tokenizer, rows, config.objective.source_top_k, date=run.date)
    if carried and open_targets(config, number, run, stored) is None:
        return f"source {source.label}: its cache at {folder} fits and is whole; {carried}, not yet there: {CACHE}"
    return f"source {source.label}: its cache at {folder} fits and is whole"


def _answer_tokens(rows: Sequence[Encoded]) -> int:
    return sum(len(row.ids) - row.prompt_length for row in rows)
