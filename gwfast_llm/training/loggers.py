"""Loggers beside our own records: whether they are known and installed, and what they are told of the run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import yaml
from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from gwfast_llm.system.errors import FusionError


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers that are unknown or not installed.

    Raises
    ------
    FusionError
        Naming the first of them.
    """
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise FusionError(
                f"train.report_to: {name!r} is no logger; expected some of {', '.join(sorted(INTEGRATION_TO_CALLBACK))}"
            )
        if name not in get_available_reporting_integrations():
            raise FusionError(
                f"train.report_to: {name} is not installed; pip install {name}, or leave it out of train.report_to"
            )


class ConfigurationCallback(TrainerCallback):
    """Tells TensorBoard, wandb and trackio the configuration of the run, credentials struck out.

    Parameters
    ----------
    configuration : dict
        From `FuseConfig.as_dict`.
    """

    def __init__(self, configuration: dict[str, Any]):
        self._configuration = configuration
        self.loggers: Sequence[Any] = ()

    def on_train_begin(self, args, state, control, **kwargs):
        """Write it once, after the loggers have begun."""
        if not state.is_world_process_zero:
            return
        for one in self.loggers:
            writer = getattr(one, "tb_writer", None)
            if writer is not None:
                text = yaml.safe_dump(self._configuration, sort_keys=False)
                writer.add_text("configuration", "".join(f"    {line}\n" for line in text.splitlines()))
        for name in ("wandb", "trackio"):
            config: Any = getattr(getattr(sys.modules.get(name), "run", None), "config", None)
            if hasattr(config, "update"):
                config.update({"gwfast": self._configuration})
