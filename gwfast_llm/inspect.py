"""``python -m gwfast_llm.inspect``: look at a fusion before it costs anything; changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from gwfast_llm.command_line.parser import config_parser, guard, parse
from gwfast_llm.config import FuseConfig
from gwfast_llm.system.errors import FusionError

SPEED = 150.0  # TFLOP/s that a GPU reaches: about half of an A100's peak in bfloat16, which is 312

DESCRIPTION = """Look at a fusion before it costs anything.

Shows the tokenizers, the prompts as each model reads them, how well tokens line up on the real examples, the memory of
each GPU, the time, the size of the caches, and which mistakes would stop the run.  No model is loaded and nothing is
written; weights are read once, in search of NaN and infinity."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config_parser("inspect", DESCRIPTION)
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that train (0: those of accelerate launch, else 1)")
    parser.add_argument("--tflops", type=float, default=SPEED, help="TFLOP/s that a GPU reaches, for the time")
    return guard(lambda: _run(*parse(parser, arguments)))


def _run(options: Any, config: FuseConfig | None) -> int:
    if config is None:
        raise FusionError("--config is missing; give the configuration of a fusion")
    if options.gpus < 0:
        raise FusionError(f"--gpus is {options.gpus}; expected 1 or more, or 0 for those of accelerate launch")
    if not 0 < options.tflops < float("inf"):
        raise FusionError(f"--tflops is {options.tflops:g}; expected a positive number, for instance 150")
    if int(os.environ.get("RANK", "0")) > 0:
        return 0  # the first process says it all
    from gwfast_llm.models.elsewhere import is_elsewhere
    from gwfast_llm.models.stored_weights import check_numbers
    from gwfast_llm.reports.inspection import inspected

    gpus = options.gpus or int(os.environ.get("WORLD_SIZE", "1"))
    for line in inspected(config, gpus, options.tflops):
        print(line)
    for model in (config.pivot, *config.sources):
        if not is_elsewhere(model):
            check_numbers(model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
