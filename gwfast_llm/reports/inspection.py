"""What a fusion will look like and cost: tokenizers, alignment, memory, caches; no weights are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from gwfast_llm.config import FuseConfig, ModelConfig
from gwfast_llm.models.loading import check_weights, held_note
from gwfast_llm.models.output_layer import automatic_chunk
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.system.errors import FusionError, one_line
from gwfast_llm.teachers.path import shared_tokens
from gwfast_llm.teachers.shards import MANIFEST
from gwfast_llm.teachers.store import bytes_per_token
from gwfast_llm.teachers.targets import target_bytes
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.alignment import matched_starts
from gwfast_llm.text.examples import Encoded, end_token_of
from gwfast_llm.text.packing import place
from gwfast_llm.training.loggers import check_loggers
from gwfast_llm.training.prepare import PreparedRun, prepare_run
from gwfast_llm.training.sources import carried_beforehand, kept_logits, open_source, open_targets

CACHE = "python -m gwfast_llm.cache"
SHOWN = 200  # examples that are aligned


def inspected(config: FuseConfig) -> Iterator[str]:
    """Look at a fusion.

    Parameters
    ----------
    config : FuseConfig
        The fusion.

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
    yield f"objective {config.objective.preset}: {recommendation(config)}"
    yield f"{run.size} training examples, {len(run.examples) - run.size} held out"
    for note in run.notes:
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
    yield padding([len(row.ids) for row in run.rows[0][: run.size]], config)
    yield example_lines(run, labels)
    for k, source in enumerate(config.sources, 1):
        yield alignment(run, k, source.label)
    for label, model in zip(labels, [config.pivot, *config.sources]):
        yield f"{label}: {memory(model, config, model is config.pivot, run)}"
    for number in range(len(config.sources)):
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
    if config.objective.preset == "path":
        return f"{parts}; recommended: it helped most in our measurements"
    return f"{parts}; preset path (CE + 3 path-KL) is the recommended one: it helped most in our measurements"


def example_lines(run: PreparedRun, labels: Sequence[str]) -> str:
    """The first answer under every tokenizer, cut into tokens."""
    lines = ["the first answer, cut into tokens:"]
    text = run.examples[0].response.encode()
    for label, rows in zip(labels, run.rows):
        cuts = [0, *rows[0].ends[:12]]
        pieces = [text[a:b].decode(errors="replace") for a, b in pairwise(cuts) if 0 <= a <= b]
        lines.append(f"  {label}: " + "|".join(piece.replace("\n", "\\n") for piece in pieces))
    return "\n".join(lines)


def padding(lengths: Sequence[int], config: FuseConfig) -> str:
    """Share of the tokens in a batch that are padding, with packed rows and without, on the first examples."""
    size, used, padded, packed = config.train.batch_size, 0, 0, 0
    for first in range(0, min(len(lengths), max(size, SHOWN)), size):
        own = lengths[first : first + size]
        places = place(own, config.data.max_length)
        width = max(start + length for (_, start), length in zip(places, own))
        used += sum(own)
        padded += len(own) * max(own)
        packed += (1 + max(row for row, _ in places)) * width
    plain, less = f"{1 - used / padded:.0%}", f"{1 - used / packed:.0%}"
    if config.train.packing:
        return f"pivot: {less} of a batch's tokens are padding, {plain} without packing"
    return f"pivot: {plain} of a batch's tokens are padding, {less} with --train.packing true"


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


def parameters(model: ModelConfig) -> tuple[int, str]:
    """Number of weights of a model and the type they will be held in, from its configuration alone."""
    try:
        config = AutoConfig.from_pretrained(model.model, trust_remote_code=model.trust_remote_code)
        with torch.device("meta"):
            made = AutoModelForCausalLM.from_config(config, trust_remote_code=model.trust_remote_code)
    except (OSError, ValueError) as problem:
        first = (str(problem).strip().splitlines() or ["unknown reason"])[0]
        raise FusionError(f"no model at {model.model!r} ({first[:160]})") from None
    own = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    return sum(p.numel() for p in made.parameters()), own if model.dtype == "auto" else model.dtype


def memory(model: ModelConfig, config: FuseConfig, is_pivot: bool, run: PreparedRun) -> str:
    """Rough memory of a model on one device."""
    count, kind = parameters(model)
    if not is_pivot:
        width = 4 if kind == "float32" else 2
        return f"{count / 1e9:.2f} G weights, {spell_bytes(width * count)} in {kind}"
    train = config.train
    note = "" if config.lora.rank else held_note(model, getattr(torch, kind))
    if not config.lora.rank:
        kind = "float32"  # whatever they come in: see loading.load_to_train
    width = 4 if kind == "float32" else 2
    if config.lora.four_bit:
        kind, width = "4 bits", 0.6  # with scales; embeddings stay as they are
    tokens = train.batch_size * max(len(row.ids) for row in run.rows[0])
    size = len(run.tokenizers[0])
    chunk = automatic_chunk(tokens, size) if train.chunk < 0 else train.chunk
    # logits, their float32 copy or softmax, and the gradient
    logits = 4 * 3 * min(chunk or tokens, tokens) * size
    # weights, gradients and two moments; adapters are a hundredth
    states = (width + (4 * 3 if not config.lora.rank else 0.12)) * count
    advice = ""
    if logits > max(states / 10, 2e9) and not chunk:
        advice = "; without --train.chunk 0 most of the logits would be spared"
    about = f" (in chunks of {chunk} positions)" if chunk else ""
    return (
        f"{count / 1e9:.2f} G weights in {kind}; training needs about {spell_bytes(states)} for weights, gradients and "
        f"moments (shared by the processes under FSDP or ZeRO-3) and {spell_bytes(logits)} for logits{about}{advice}"
        + (f"\n{note}" if note else "")
    )


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
