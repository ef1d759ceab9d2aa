"""Cost of the losses alone, and how time and memory are measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch

from experiments.gpu_fusion.memory import PeakTensors
from gwfast_llm import gld_loss, uld_loss
from gwfast_llm.models.logits import Selection, select
from gwfast_llm.terms.gld import GraphOptions, gld_part
from gwfast_llm.terms.uld import uld_part

REPEATS = 7  # of a loss alone; the median counts


def throughput(work: Callable[[], Any], repeats: int, device: str, held: int) -> dict[str, float]:
    """Mean seconds of `work` after one warm-up, done many times without waiting between them, and the peak memory.

    As in training: while the device works, the next batch is read and collated.  On a CPU the peak is counted in the
    tensors of the warm-up, `held` bytes of weights added.
    """
    alive = PeakTensors()
    with alive if device == "cpu" else nullcontext():
        work()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / repeats
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else held + alive.peak
    return {"seconds": seconds, "peak_bytes": float(peak)}


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


def gold_uld(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor | None = None
) -> Callable[[], torch.Tensor] | None:
    """ULD of TRL's GOLD trainer on the same logits, None without TRL; all positions count without labels."""
    try:
        from trl.experimental.gold.gold_trainer import ULDLoss  # type: ignore[import-not-found]
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
    if labels is None:
        labels = torch.zeros(student.shape[:2], dtype=torch.long, device=student.device)
    ids = labels.clamp_min(0)
    return lambda: loss(student, teacher, labels, labels, ids, ids)


def both_losses(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """ULD + GLD from one selection a model, as the trainer computes them."""
    s, t = (select(z, Selection(10)) for z in (student, teacher))
    sizes = (student.shape[-1], teacher.shape[-1])
    return uld_part(s.probs, t.probs, mask).mean + gld_part(s, t, mask, mask, sizes, GraphOptions.raw()).mean


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
        "gld, ranks, top 10": lambda: gld_loss(
            student, teacher, mask, mask, top_k=10, weights="logits", scale="published"
        ),
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
        forward = measure(lambda own=loss: own().detach(), REPEATS, "cpu")
        both = measure(lambda own=loss: torch.autograd.grad(own(), student), REPEATS, "cpu")
        sizes: dict[str, Any] = {"length": length, "vocabulary": vocabulary, "threads": 1, "repeats": REPEATS}
        record("loss", name, forward=forward["seconds"], both=both["seconds"], saved_bytes=saved.bytes, **sizes)
    torch.set_num_threads(threads)
