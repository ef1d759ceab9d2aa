"""``python -m gwfast_llm.inspect``: look at a fusion before it costs anything; changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from gwfast_llm.command_line.parser import config_parser, guard, parse
from gwfast_llm.config import FuseConfig
from gwfast_llm.system.errors import FusionError

DESCRIPTION = """Look at a fusion before it costs anything.

Shows the tokenizers, how well their tokens line up on the real examples, what each model and cache will need in
memory and on disk, and which mistakes would stop the run.  No model is loaded and nothing is written; weights are read
once, in search of NaN and infinity."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config_parser("inspect", DESCRIPTION)
    return guard(lambda: _run(*parse(parser, arguments)))


def _run(options: Any, config: FuseConfig | None) -> int:
    if config is None:
        raise FusionError("--config is missing; give the configuration of a fusion")
    from gwfast_llm.models.stored_weights import check_numbers
    from gwfast_llm.reports.inspection import inspected

    for line in inspected(config):
        print(line)
    for model in (config.pivot, *config.sources):
        check_numbers(model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
