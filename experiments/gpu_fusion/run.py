"""Measure what the fusion objectives cost on random weights at real shapes; writes records, prints nothing else."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from transformers import Qwen2Config, Qwen2ForCausalLM

from gwfast_llm import gld_loss, uld_loss
from gwfast_llm.chunked import ChunkedHead, ChunkedStudent
from gwfast_llm.combine import DenseStudent, batch_counts, batch_parts, part_names, request_of
from gwfast_llm.config import LoraConfig, ObjectiveConfig
from gwfast_llm.data import Encoded
from gwfast_llm.graph_objective import GraphOptions, gld_part
from gwfast_llm.logits import Selection, select
from gwfast_llm.objective import uld_part
from gwfast_llm.signal import OnlineSource
from gwfast_llm.train import with_adapters

RECORDS = Path(__file__).parent / "records"


@dataclass(frozen=True)
class Shape:
    """Sizes of a measurement."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    length: int
    prompt: int
    repeats: int
    chunk: int


SHAPES = {
    "gpu": Shape(3584, 18944, 28, 28, 4, 152064, 4096, 512, 5, 1024),
    "small": Shape(128, 256, 2, 4, 2, 8000, 256, 32, 3, 64),
}
OBJECTIVES = {
    "sft": ObjectiveConfig(preset="sft"),
    "sft + uld": ObjectiveConfig(preset="custom", uld=0.1),
    "sft + gld": ObjectiveConfig(preset="custom", gld=0.01),
    "infigfusion": ObjectiveConfig(preset="infigfusion"),
    "path": ObjectiveConfig(preset="path"),
}
KEEP = 64


def measure(work: Callable[[], Any], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of `work` after one warm-up, and the peak memory of the device in bytes (NaN on a CPU)."""
    work()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else float("nan")
    return {"seconds": sorted(seconds)[len(seconds) // 2], "peak_bytes": float(peak)}


class Saved:
    """Bytes that autograd keeps for the backward pass, each storage once."""

    def __init__(self, known: tuple[torch.Tensor, ...]):
        self._storages = {t.untyped_storage().data_ptr() for t in known}
        self.bytes = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._storages:
            self._storages.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def gold_uld(student: torch.Tensor, teacher: torch.Tensor) -> Callable[[], torch.Tensor] | None:
    """ULD of TRL's GOLD trainer on the same logits, None without TRL."""
    try:
        from trl.experimental.gold.gold_trainer import ULDLoss
    except ImportError:
        return None
    settings = SimpleNamespace(
        uld_crossentropy_weight=0.0,
        uld_distillation_weight=1.0,
        uld_student_temperature=1.0,
        uld_teacher_temperature=1.0,
        uld_skip_student_eos=False,
        uld_skip_teacher_eos=False,
        use_extended_uld=False,
        uld_token_merge_strategy="observed",
    )
    loss = ULDLoss(settings)
    labels = torch.zeros(student.shape[:2], dtype=torch.long, device=student.device)
    return lambda: loss(student, teacher, labels, labels, labels, labels)


def both_losses(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """ULD + GLD from one selection a model, as the trainer computes them."""
    s, t = (select(z, Selection(10)) for z in (student, teacher))
    sizes = (student.shape[-1], teacher.shape[-1])
    return uld_part(s.probs, t.probs, mask).mean + gld_part(s, t, mask, mask, sizes, GraphOptions()).mean


def losses_alone(record: Callable[..., None]) -> None:
    """Cost of the loss alone on a CPU with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    length, vocabulary = 256, 32000
    draw = torch.Generator().manual_seed(0)
    student = torch.randn(1, length, vocabulary, generator=draw).requires_grad_()
    teacher = torch.randn(1, length, vocabulary, generator=draw)
    mask = torch.ones(1, length, dtype=torch.bool)
    contenders: dict[str, Callable[[], torch.Tensor] | None] = {
        "uld, top 10": lambda: uld_loss(student, teacher, mask, mask, top_k=10),
        "gld, ranks, top 10": lambda: gld_loss(student, teacher, mask, mask, top_k=10, nodes="rank", weights="logits"),
        "uld + gld, top 10": lambda: both_losses(student, teacher, mask),
        "TRL GOLD's uld": gold_uld(student, teacher),
    }
    for name, loss in contenders.items():
        if loss is None:
            record("loss", name, missing="TRL is not installed")
            continue
        saved = Saved((student, teacher))
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
            loss()
        forward = measure(lambda own=loss: own().detach(), 3, "cpu")
        both = measure(lambda own=loss: torch.autograd.grad(own(), student), 3, "cpu")
        record("loss", name, forward=forward["seconds"], both=both["seconds"], saved_bytes=saved.bytes)
    torch.set_num_threads(threads)


def model_of(shape: Shape, device: str, seed: int) -> Any:
    """Qwen2 of this shape with random weights."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.length,
        tie_word_embeddings=False,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            return Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def batch_of(shape: Shape, device: str) -> dict[str, torch.Tensor]:
    """One example with one cached source, drawn at random."""
    draw = torch.Generator().manual_seed(2)

    def ids(*size: int) -> torch.Tensor:
        return torch.randint(0, shape.vocabulary, size, generator=draw)

    answers = shape.length - shape.prompt
    tokens = ids(1, shape.length)
    labels = tokens.clone()
    labels[:, : shape.prompt] = -100
    probs = torch.rand(1, 1, answers, KEEP, generator=draw).sort(-1, descending=True)[0]
    probs = 0.95 * probs / probs.sum(-1, keepdim=True)
    batch = {
        "input_ids": tokens,
        "attention_mask": torch.ones(1, shape.length, dtype=torch.long),
        "labels": labels,
        "source_weight": torch.ones(1, 1),
        "pair_index": torch.arange(shape.prompt - 1, shape.length - 1)[None, None],
        "pair_mask": torch.ones(1, 1, answers, dtype=torch.bool),
        "path_ids": ids(1, 1, answers, KEEP),
        "path_probs": probs,
        "path_tail": 1 - probs.sum(-1),
        "source_probs": probs[..., :10],
        "source_values": probs[..., :10].log() + 20,
        "source_ids": ids(1, 1, answers, 10),
        "source_mask": torch.ones(1, 1, answers, dtype=torch.bool),
    }
    return {name: value.to(device) for name, value in batch.items()}


def steps(shape: Shape, device: str, record: Callable[..., None]) -> None:
    """Cost of a training step with every objective."""
    model = with_adapters(model_of(shape, device, 0), LoraConfig(rank=16))
    if device == "cuda":
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
        model.enable_input_require_grads()
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-5)
    batch = batch_of(shape, device)
    head = ChunkedHead(model, shape.chunk)
    given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "use_cache": False}

    def step(objective: ObjectiveConfig, chunked: bool, ask: Callable[[], Any] | None = None) -> None:
        if ask is not None:
            ask()
        slots = 1 if objective.distils else 0
        if chunked:
            request, columns = request_of(batch, objective, slots)
            head.pending = request
            student: Any = ChunkedStudent(request, model(**given).logits, columns)
        else:
            student = DenseStudent(model(**given).logits)
        names = part_names(objective, slots)
        totals = torch.stack([p.total.float() for p in batch_parts(student, batch, objective, slots)])
        weights = torch.tensor([objective.weights[n] for n, _ in names], device=totals.device)
        (weights * totals / batch_counts(batch, names)).sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    for name, objective in OBJECTIVES.items():
        for chunked in (False, True):
            found = measure(lambda o=objective, c=chunked: step(o, c), shape.repeats, device)
            record("step", name, chunked=chunked, source="cached", **found)
    source, rows = source_of(shape, device)

    def ask() -> None:
        source.signals([0])

    for chunked in (False, True):
        found = measure(lambda c=chunked: step(OBJECTIVES["path"], c, ask), shape.repeats, device)
        record("step", "path", chunked=chunked, source="online", **found)
    bare(source, rows, shape, device, record)


class Ids:
    """Stands for a tokenizer of this many tokens."""

    pad_token_id = 0

    def __init__(self, size: int):
        self._size = size

    def get_vocab(self) -> dict[str, int]:
        return {"last": self._size - 1}


def source_of(shape: Shape, device: str) -> tuple[OnlineSource, list[Encoded]]:
    """A source of the same shape as the pivot, with random weights."""
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(0, shape.vocabulary, (shape.length,), generator=draw).tolist()
    rows = [Encoded(ids, shape.prompt, list(range(1, shape.length - shape.prompt + 1)))]
    return OnlineSource("random", model_of(shape, device, 1), Ids(shape.vocabulary), rows, 10), rows


def bare(source: OnlineSource, rows: list[Encoded], shape: Shape, device: str, record: Callable[..., None]) -> None:
    """Cost of a source's answers against its forward pass alone."""
    ids = torch.tensor([rows[0].ids], device=device)

    def forward() -> None:
        with torch.no_grad():
            hidden = source._base(input_ids=ids, use_cache=False).last_hidden_state[0, shape.prompt - 1 : -1]
            for start in range(0, len(hidden), 2048):
                source._layer(hidden[start : start + 2048])

    record("caching", "forward alone", **measure(forward, shape.repeats, device))
    record("caching", "forward and top 10", **measure(lambda: source.signals([0]), shape.repeats, device))


def commit() -> tuple[str, bool]:
    """Commit of the working tree, and whether it was changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--short", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))


def main() -> None:
    """Measure and write one file of records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", choices=sorted(SHAPES), default="")
    parser.add_argument("--out", type=Path, default=RECORDS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here; use --device cpu --size small")
    size = options.size or ("gpu" if options.device == "cuda" else "small")
    head, dirty = commit()
    about = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": head,
        "dirty": dirty,
        "size": size,
        **dataclasses.asdict(SHAPES[size]),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{size}-{options.device}.jsonl"
    rows: list[str] = []

    def record(kind: str, name: str, **values: Any) -> None:
        rows.append(json.dumps({"kind": kind, "name": name, **values, **about}))
        print(kind, name, {k: v for k, v in values.items() if v == v})

    losses_alone(record)
    steps(SHAPES[size], options.device, record)
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join(rows) + "\n", encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main()
