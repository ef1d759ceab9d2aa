"""The fuse command in processes of its own, one or two, on the small models of `home`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file


def config_file(path, home, steps, batch_size=4, save_every=0, **more):
    """Write the configuration of a short run."""
    # 29 examples: the last batch of an epoch is small, and one of two processes has nothing of it
    data = path.with_name("train-29.jsonl")
    data.write_text("".join((home / "train.jsonl").read_text().splitlines(keepends=True)[:29]))
    content = {
        "pivot": {"model": str(home / "pivot")},
        "sources": [{"model": str(home / "A"), "name": "A"}, {"model": str(home / "B"), "name": "B"}],
        "data": {
            "train": str(data),
            "validation": str(home / "held-out.jsonl"),
            "max_length": 96,
            "end_token": False,
        },
        "objective": {"preset": "path", "source_top_k": 0},
        "train": {
            "steps": steps,
            "batch_size": batch_size,
            "lr": 0.003,
            "log_every": 2,
            "save_every": save_every,
            "eval_every": 4,
            "interval_every": 4,
            "samples": 0,
            **more,
        },
    }
    path.write_text(yaml.safe_dump(content))
    return path


def environment():
    """One thread, no network, no GPU."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(line, **variables):
    """Run a program to its end."""
    own = {**environment(), **variables}
    return subprocess.run(list(map(str, line)), env=own, capture_output=True, text=True, timeout=300, check=False)


def command(*arguments):
    """Run the fuse command in one process."""
    return run([sys.executable, "-m", "gwfast_llm.fuse", *arguments])


FORKED = (Path(__file__).parent / "gwfast_llm" / "forked.py",)
LAUNCHED = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def launched(home, folder, name, program, flags=(), launcher=FORKED, **variables):
    """Run a program around the fuse command in two processes."""
    path = config_file(folder / "c.yaml", home, 12, batch_size=2)
    line = [sys.executable, *launcher, program, "--config", path, "--runs", folder, "--name", name, *flags]
    return run(line, **variables)


def records(folder):
    """What a run has recorded."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    """The weights a run has saved."""
    return load_file(folder / "model" / "model.safetensors")


def agrees(one, two, rel=1e-4, atol=1e-5):
    """Losses and held-out objective of two runs, to a relative 1e-4 (sums in another order, twelve steps)."""
    rows = [[row for row in records(run) if {"loss", "eval_loss"} & row.keys()] for run in (one, two)]
    for a, b in zip(*rows, strict=True):
        assert a.keys() == b.keys()
        for name in ("loss", "sft", "path", "eval_loss", "eval_path"):
            if name in a:
                assert a[name] == pytest.approx(b[name], rel=rel), (name, a["step"])
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=atol)
