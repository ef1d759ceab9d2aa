"""The script that measures batches on a GPU runs on a processor."""

import importlib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("experiments.gpu_many.run")


def test_sizes_and_tables_are_recorded(run, monkeypatch):
    rows = []

    def record(kind, **values):
        rows.append({"kind": kind, **values})

    run.one_size(6, 4, "cpu", 1e9, 1, record)
    assert [row["kind"] for row in rows] == ["batch", "batch", "gradient"] * 2
    assert all(row["problems_per_second"] > 0 for row in rows)
    assert all(0 < row["lower"] <= row["value"] for row in rows if row["kind"] == "batch")
    assert all(row["bandwidth_share"] > 0 for row in rows if row["kind"] == "batch")
    monkeypatch.setattr(run, "WHOLE", 5)
    run.whole_table("cpu", 60.0, 2, record)
    assert rows[-1]["pairs"] == 5


def test_bytes_are_those_that_operations_touch(run):
    x = torch.zeros(10, dtype=torch.float64)
    with run.Traffic() as traffic:
        assert x.reshape(2, 5).T.shape == (5, 2)
    assert traffic.bytes == 0
    with run.Traffic() as traffic:
        x + 1
    assert traffic.bytes == 160


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_is_measured(run):
    rows = []
    run.one_size(20, 64, "cuda", run.bandwidth("cuda"), 1, lambda kind, **values: rows.append(values))
    assert all(row["seconds"] > 0 for row in rows)
