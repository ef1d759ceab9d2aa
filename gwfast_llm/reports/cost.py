"""What a run took beside what was estimated for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gwfast_llm.config import FuseConfig
from gwfast_llm.models.elsewhere import is_elsewhere
from gwfast_llm.models.shape import shape_of
from gwfast_llm.reports.duration import first_batches, operations_a_step
from gwfast_llm.reports.memory import WIDTHS, copied, memory_of
from gwfast_llm.system.disk import spell_bytes
from gwfast_llm.system.progress import spell_time
from gwfast_llm.training.measured import Measured


def cost_of(config: FuseConfig, measured: Measured, lengths: Sequence[int], gpus: int = 1) -> dict[str, Any]:
    """Estimate and measurement of a run, for its record.

    Parameters
    ----------
    config : FuseConfig
        The run.
    measured : Measured
        What it took.
    lengths : sequence of int
        Tokens of every training example under the pivot's tokenizer.
    gpus : int
        Processes that trained it.
    """
    shape = shape_of(config.pivot, config.lora)
    run = [source for source in config.sources if not source.cache and not is_elsewhere(source)]
    others = [shape_of(source) for source in run]
    sources = float(sum(WIDTHS.get(one.dtype, 4) * one.weights for one in others))
    memory = copied(memory_of(config, shape, lengths, sources), gpus)
    return {
        "estimated_bytes": round(max(memory.total, memory.diagnosis)),
        "operations": operations_a_step(config, shape, first_batches(lengths, config)) * measured.steps,
        "peak_bytes": measured.peak,
        "before_bytes": measured.before,
        "step_seconds": measured.seconds,
        "steps_measured": measured.steps,
        "gpu": measured.gpu,
    }


def cost_table(cost: dict[str, Any]) -> str:
    """Markdown table of estimate and measurement; empty where nothing was measured."""
    if not cost:
        return ""
    where = "of the first GPU" if cost["gpu"] else "of this process"
    before = f", {spell_bytes(cost['before_bytes'])} of them before the pivot was loaded"
    rate = cost["operations"] / 1e12 / max(cost["step_seconds"], 1e-9)
    steps, seconds = cost["steps_measured"], cost["step_seconds"]
    each = f", {seconds / steps:.2g} s a step" if steps else ""
    return "\n".join(
        [
            "| | estimated by `inspect` | measured |",
            "|---|---|---|",
            f"| memory | {spell_bytes(cost['estimated_bytes'])} | peak {where}: {spell_bytes(cost['peak_bytes'])}"
            f"{before} |",
            f"| {steps} steps | {cost['operations']:.3g} operations | {spell_time(seconds)}{each}: {rate:.3g} TFLOP/s "
            f"(`inspect --tflops {rate:.3g}` for the next run here) |",
        ]
    )
