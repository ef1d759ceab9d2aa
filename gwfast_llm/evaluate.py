"""``python -m gwfast_llm.evaluate``: score models on held-out examples, and by lm-evaluation-harness where installed.

Excess nats a word where the true probability of the text is known; exact match of the whole answer and nats a byte
elsewhere.  Nats a byte can be compared across tokenizers.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

import torch

from gwfast_llm.command_line.parser import config_parser, guard, parse
from gwfast_llm.config import FuseConfig, ModelConfig
from gwfast_llm.models.elsewhere import is_elsewhere
from gwfast_llm.reports.scoring import TaskScore, closing_of, evaluate, usable_examples
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.values import in_home

DESCRIPTION = """Score models on held-out examples.

With --config the pivot and every source are scored on data.validation; --models adds folders, for instance a run's
model.  --tasks runs tasks of lm-evaluation-harness on the same models, by name or by the path of a YAML file
(pip install 'gwfast-ot[eval]'); --data.chat puts their questions into each model's chat template."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config_parser("evaluate", DESCRIPTION)
    parser.add_argument("--models", type=list[str], default=[], help="folders or hub names to score too")
    parser.add_argument("--only", type=list[str], default=[], help="of all these, by name: pivot, names of sources")
    parser.add_argument(
        "--tasks", type=list[str], default=[], help="tasks of lm-evaluation-harness, by name or YAML file"
    )
    parser.add_argument("--batch", type=int, default=16, help="examples a forward pass")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return guard(lambda: _run(*parse(parser, arguments)))


def _run(options: Any, config: FuseConfig | None) -> int:
    if config is None:
        raise FusionError("--config is missing; give the configuration of a fusion")
    if options.batch < 1:
        raise FusionError(f"--batch is {options.batch}; expected at least 1")
    from gwfast_llm.models.loading import check_weights, load_model, load_tokenizer
    from gwfast_llm.reports.harness import Harness
    from gwfast_llm.teachers.dates import pinned

    if not config.data.validation and not options.tasks:
        raise FusionError("data.validation is empty; give held-out examples, or --tasks")
    harness = Harness(options.tasks) if options.tasks else None
    data = pinned(config).data
    models = _chosen(config, options)
    for one in models:
        check_weights(one)  # all models are checked before the first one is scored
    examples = usable_examples(data, models) if data.validation else []
    for one in models:
        tokenizer, model = load_tokenizer(one), load_model(one)
        if torch.cuda.is_available():
            model = model.to("cuda")
        if examples:
            end = closing_of(tokenizer, examples, data)
            for score in evaluate(model, tokenizer, examples, options.batch, end, data.date):
                _print(one.shown, score, options.json)
        if harness:
            for found in harness.scores(one.shown, model, tokenizer, options.batch, data.chat):
                _print_harness(one.shown, found, options.json)
    return 0


def _chosen(config: FuseConfig, options: Any) -> list[ModelConfig]:
    """The models to score: pivot, sources and those of --models, or the ones of them that --only names."""
    known: dict[str, ModelConfig] = {"pivot": config.pivot, **{source.label: source for source in config.sources}}
    known |= {one: ModelConfig(in_home(one, "--models")) for one in options.models}
    unknown = [one for one in options.only if one not in known]
    if unknown:
        raise FusionError(f"--only: there is no {unknown[0]!r}; expected some of {', '.join(known)}")
    served = [n for n in options.only or known if is_elsewhere(known[n])]
    if served:
        raise FusionError(f"source {served[0]} has no weights here, it cannot be scored; leave it out with --only")
    return [known[name] for name in options.only or known]


def _print(name: str, score: TaskScore, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"model": name, **dataclasses.asdict(score)}))
    else:
        kind = "excess nats a word" if score.kind == "excess" else "exact match"
        task = score.task or "all"
        print(f"{name}  {task}: {kind} {score.value:.4f}, {score.nats_a_byte:.4f} nats a byte, {score.count} examples")


def _print_harness(name: str, score: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"model": name, **dataclasses.asdict(score)}))
    else:
        numbers = ", ".join(f"{key} {value:.4f}" for key, value in score.numbers.items())
        print(f"{name}  {score.task}: {numbers}, {score.count} examples")


if __name__ == "__main__":
    sys.exit(main())
