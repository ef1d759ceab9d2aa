"""Measure `gwfast.many.batched`: problems a second, values, share of the memory bandwidth; writes records."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gwfast
from gwfast.many import batched

RECORDS = Path(__file__).parent / "records"
SIZES = {"gpu": ((20, 8192), (50, 2048), (100, 512)), "small": ((20, 128), (50, 32), (100, 8))}
REFERENCE = 16  # problems that the pair solver answers too
WHOLE = 129_286  # pairs of 100 points, the number that others report
Record = Callable[..., None]


class Traffic(TorchDispatchMode):
    """Bytes of the tensors that operations read and write; views move none."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, found))
            self.bytes += sum(x.untyped_storage().nbytes() for x in leaves if isinstance(x, torch.Tensor))
        return found


def clouds(count: int, n: int, seed: int) -> torch.Tensor:
    """Distances (count, n, n) of random curves in space, float64 on the host."""
    rng = np.random.default_rng(seed)
    points = torch.tensor(np.cumsum(rng.normal(size=(count, n, 3)), axis=1) / n**0.5)
    costs = (points[:, :, None] - points[:, None]).norm(dim=3)
    return (costs + costs.mT) / 2


def seconds(work: Callable[[], Any], repeats: int, device: str) -> float:
    """Median seconds of `work` after one warm-up."""
    found = []
    for k in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        if k:
            found.append(time.perf_counter() - started)
    return sorted(found)[len(found) // 2]


def bandwidth(device: str) -> float:
    """Bytes a second that a large copy reads and writes."""
    x = torch.zeros((1 << 30 if device == "cuda" else 1 << 27) // 4, device=device)
    y = torch.empty_like(x)
    return 2 * x.nbytes / seconds(lambda: y.copy_(x), 5, device)


def one_size(n: int, B: int, device: str, peak: float, repeats: int, record: Record) -> None:
    """All precisions and efforts for one number of points."""
    C1, C2 = clouds(B, n, 1), clouds(B, n, 2)
    pairs = range(min(REFERENCE, B))
    reference = np.mean([gwfast.pairwise_gw([C1[b].numpy(), C2[b].numpy()], quality="fast").values for b in pairs])
    for dtype in (torch.float32, torch.float64):
        first, second = C1.to(device, dtype), C2.to(device, dtype)
        for effort in ("sort", "rows"):

            def forward(first: Any = first, second: Any = second, effort: str = effort) -> Any:
                return batched(first, second, epsilon=None, effort=effort, check=False)

            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            spent = seconds(forward, repeats, device)
            memory = torch.cuda.max_memory_allocated() if device == "cuda" else None
            with Traffic() as traffic:
                found = forward()
            record(
                "batch",
                n=n,
                problems=B,
                dtype=str(dtype).removeprefix("torch."),
                effort=effort,
                seconds=spent,
                problems_per_second=B / spent,
                bandwidth_share=traffic.bytes / spent / peak,
                value=float(found.annealed.mean()),
                value_of_the_first=float(found.annealed[: len(pairs)].mean()),
                lower=float(found.lower.mean()),
                pair_solver_value_of_the_first=float(reference),
                peak_bytes=memory,
            )
        first = first.clone().requires_grad_()

        def backward(first: Any = first, second: Any = second) -> None:
            found = batched(first, second, epsilon=None, effort="sort", check=False)
            torch.autograd.grad((found.annealed + found.lower).sum(), first)

        spent = seconds(backward, repeats, device)
        name = str(dtype).removeprefix("torch.")
        record("gradient", n=n, problems=B, dtype=name, seconds=spent, problems_per_second=B / spent)


def whole_table(device: str, limit: float, step: int, record: Record) -> None:
    """All pairs of 509 curves of 100 points, until a time limit."""
    spaces = clouds(509, 100, 3).to(device, torch.float32)
    i, j = torch.triu_indices(509, 509, 1, device=device)
    started, done, total = time.perf_counter(), 0, []
    while done < WHOLE and time.perf_counter() - started < limit:
        part = slice(done, min(done + step, WHOLE))
        total.append(batched(spaces[i[part]], spaces[j[part]], epsilon=None, effort="sort", check=False).annealed.sum())
        done = part.stop
        if device == "cuda":
            torch.cuda.synchronize()
    spent = time.perf_counter() - started
    record("table", n=100, pairs=done, of=WHOLE, seconds=spent, value=float(torch.stack(total).sum()) / done)


def main() -> None:
    """Measure and write one file of records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", choices=sorted(SIZES), default="")
    parser.add_argument("--out", type=Path, default=RECORDS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here; use --device cpu --size small")
    size = options.size or ("gpu" if options.device == "cuda" else "small")
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    peak = bandwidth(options.device)
    about = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "commit": head.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "bytes_per_second": peak,
    }
    rows: list[dict[str, Any]] = []

    def record(kind: str, **values: Any) -> None:
        rows.append({"kind": kind, **values, **about})
        print(kind, {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in values.items()}, flush=True)

    for n, B in SIZES[size]:
        one_size(n, B, options.device, peak, 5 if size == "gpu" else 1, record)
    whole_table(options.device, 240.0 if size == "gpu" else 2.0, SIZES[size][-1][1] * 4, record)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{size}-{options.device}.jsonl"
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main()
