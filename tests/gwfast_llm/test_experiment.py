"""The cost experiment runs through all its measurements, at a size that takes seconds."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def experiment():
    path = Path(__file__).parents[2] / "experiments" / "gpu_fusion" / "run.py"
    spec = importlib.util.spec_from_file_location("gpu_fusion_run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# peft 0.21 asks transformers 5.23 by a name that is going to change
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_every_step_is_measured(experiment):
    shape = experiment.Shape(16, 16, 1, 2, 2, 300, 24, 6, 1, 7, half=False, whole=True)
    rows = []
    experiment.steps(shape, "cpu", lambda kind, name, **values: rows.append((kind, name, values)))
    steps = [(name, v["chunked"], v["source"]) for kind, name, v in rows if kind == "step"]
    cached = [(name, chunked, "cached") for name in experiment.OBJECTIVES for chunked in (False, True)]
    online = [("path", False, "online"), ("path", True, "online")]
    assert steps == [*cached, *online, ("TRL GOLD's uld", False, "online")]
    assert [name for kind, name, _ in rows if kind == "caching"] == ["forward alone", "forward and top 10"]
    measured = [v for _, name, v in rows if "missing" not in v]
    assert len(measured) >= len(rows) - 1  # TRL may not be installed
    assert all(v["seconds"] > 0 for v in measured)
    for kind, _, values in rows:
        if "missing" not in values:  # a forward pass alone is not counted on a CPU: missing, never 0
            assert math.isnan(values["peak_bytes"]) if kind == "caching" else values["peak_bytes"] > 0


def test_one_selection_for_both_losses_is_their_sum():
    import gwfast_llm
    from experiments.gpu_fusion.losses import both_losses

    draw = torch.Generator().manual_seed(0)
    s, t = (torch.randn(2, 5, 40, generator=draw) for _ in range(2))
    m = torch.ones(2, 5, dtype=torch.bool)
    apart = gwfast_llm.uld_loss(s, t, m, m) + gwfast_llm.gld_loss(s, t, m, m, weights="logits", scale="published")
    assert both_losses(s, t, m).item() == pytest.approx(apart.item(), rel=1e-6)


def test_figures_are_set_beside_those_asked():
    from experiments.gpu_fusion.checks import checks, lines

    rows = [
        {"kind": "loss", "name": "uld + gld, top 10", "both": 1.0, "saved_bytes": 10},
        {"kind": "loss", "name": "TRL GOLD's uld", "both": 19.0, "saved_bytes": 1000},
        {"kind": "step", "name": "sft", "chunked": True, "source": "cached", "seconds": 1.0, "peak_bytes": math.nan},
        {
            "kind": "step",
            "name": "infigfusion",
            "chunked": True,
            "source": "cached",
            "seconds": 1.04,
            "peak_bytes": math.nan,
        },
        {"kind": "caching", "name": "forward alone", "missing": "no device"},
    ]
    assert [holds for *_, holds in checks(rows)] == [False, True, True, None, None]
    assert "asked >= 20, 19: MISSED" in lines(rows)[0]
    assert "asked <= 1.03, not measured" in lines(rows)[3]


def test_depth_adds_layers_and_nothing_else():
    from experiments.gpu_fusion.checks import at_depth, checks

    def rows(layers):
        step = {"kind": "step", "chunked": True, "source": "cached"}
        return [
            {**step, "name": "sft", "seconds": 5.0 + layers, "peak_bytes": 50.0 + 10 * layers},
            {**step, "name": "infigfusion", "seconds": 6.0 + layers, "peak_bytes": 60.0 + 10 * layers},
            {"kind": "caching", "name": "forward alone", "seconds": 1.0 + layers, "peak_bytes": math.nan},
            {"kind": "caching", "name": "forward and top 10", "seconds": 2.0 + layers, "peak_bytes": math.nan},
        ]

    found = at_depth(rows(1), rows(2), 28)
    assert [row["seconds"] for row in found] == [33.0, 34.0, 29.0, 30.0]
    assert [value for *_, value, _ in checks(found)][2:] == pytest.approx([34 / 33, 340 / 330, 29 / 30])


def test_peak_counts_each_storage_while_it_lives():
    from experiments.gpu_fusion.memory import PeakTensors

    with PeakTensors() as alive:
        a = torch.zeros(1000)
        b = a[:500]  # a view
        a.add_(1)  # in place
        del a, b
        c = torch.zeros(700)
        del c
    assert alive.peak == 4000
    weight = torch.ones(1000, requires_grad=True)
    with PeakTensors() as alive:
        (weight * 2).exp().sum().backward()  # in the backward pass too
    assert 2 * 4000 <= alive.peak <= 4 * 4000
