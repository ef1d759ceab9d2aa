"""Tasks of lm-evaluation-harness on a model that is loaded already; the harness is an extra."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gwfast_llm.system.errors import FusionError


@dataclass(frozen=True)
class HarnessScore:
    """What the harness found on one task.

    Attributes
    ----------
    task : str
        Name of the task or of a group of tasks.
    count : int
        Number of examples; 0 for a group.
    numbers : dict
        Metric and its value, as the harness names them (``acc``, ``acc_stderr``); those it could not compute are left
        out.
    """

    task: str
    count: int
    numbers: dict[str, float]


class Harness:
    """Tasks that are known to exist, to be run on one model after another.

    Parameters
    ----------
    tasks : sequence of str
        Names of tasks, groups or tags, or paths of YAML files that define one.

    Raises
    ------
    FusionError
        When the harness is not installed or does not know a task.
    """

    def __init__(self, tasks: Sequence[str]):
        if find_spec("lm_eval") is None:
            raise FusionError(
                "--tasks needs lm-evaluation-harness, which is not installed: pip install 'gwfast-ot[eval]'"
            )
        from lm_eval.tasks import TaskManager  # type: ignore[import-not-found]

        self._tasks = [os.path.expanduser(task) for task in tasks]
        self._manager = TaskManager()
        known = set(self._manager.all_tasks)
        for task in self._tasks:
            if task not in known and not (task.endswith((".yaml", ".yml")) and Path(task).is_file()):
                raise FusionError(
                    f"--tasks: {task!r} is neither a task of lm-evaluation-harness nor the path of a YAML file; "
                    "`lm-eval ls tasks` lists them"
                )

    def scores(self, name: str, model: Any, tokenizer: Any, batch_size: int, chat: bool) -> list[HarnessScore]:
        """Run the tasks on a model.

        Parameters
        ----------
        name : str
            The model in messages.
        model, tokenizer : transformers objects
            A causal language model with its own tokenizer.
        batch_size : int
            Examples a forward pass.
        chat : bool
            Put the questions into the model's chat template.

        Returns
        -------
        list of HarnessScore

        Raises
        ------
        FusionError
            When the tokenizer lacks what the harness needs, or the data of a task cannot be loaded.
        """
        import lm_eval  # type: ignore[import-not-found]
        from lm_eval.models.huggingface import HFLM  # type: ignore[import-not-found]

        if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
            raise FusionError(
                f"--tasks: the tokenizer of {name} has neither a first nor an end-of-sequence token, one of which the "
                "harness puts before a text; set eos_token in its tokenizer_config.json"
            )
        if chat and not tokenizer.chat_template:
            raise FusionError(f"--tasks: the tokenizer of {name} has no chat template; use --data.chat false")
        wrapped = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        try:
            found = lm_eval.simple_evaluate(
                model=wrapped, tasks=self._tasks, task_manager=self._manager, apply_chat_template=chat
            )
        except OSError as problem:
            first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            raise FusionError(f"--tasks: the data of a task cannot be loaded ({first[:160]})") from None
        found = found or {}  # None on all processes but the first
        counts = found.get("n-samples", {})
        return [
            HarnessScore(task, counts.get(task, {}).get("effective", 0), _numbers(values))
            for task, values in found.get("results", {}).items()
        ]


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    """Metrics without the name of the filter where that is `none`."""
    return {
        key.removesuffix(",none"): float(value)
        for key, value in values.items()
        if isinstance(value, float) and math.isfinite(value)
    }
