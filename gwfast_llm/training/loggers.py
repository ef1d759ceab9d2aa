"""Loggers beside our own records: whether they are known and installed."""

from __future__ import annotations

from collections.abc import Sequence

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
