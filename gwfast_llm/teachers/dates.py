"""The date that chat templates print: that of the run or of its caches, so that a later day changes no prompt."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gwfast_llm.config import FuseConfig
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import read_object
from gwfast_llm.system.values import is_day
from gwfast_llm.teachers.shards import MANIFEST, read_manifest
from gwfast_llm.text.templates import today

RESUMED = "the run cannot be resumed; start anew with --overwrite"


def cached_date(config: FuseConfig) -> str:
    """Date with which the first of the caches was made; empty where none says."""
    for source in config.sources:
        folder = Path(source.cache)
        if source.cache and (folder / MANIFEST).is_file():
            try:
                date = read_manifest(folder).get("date")
            except FusionError:
                continue  # said where the cache is opened
            if isinstance(date, str) and date:
                return date
    return ""


def pinned(config: FuseConfig, record: Path | None = None) -> FuseConfig:
    """The configuration with its date fixed.

    Parameters
    ----------
    config : FuseConfig
        Its own ``data.date`` wins.
    record : Path, optional
        Configuration of the run that goes on, whose date comes next; then that of the caches, then today's.

    Raises
    ------
    FusionError
        When that record is damaged.
    """
    if config.data.date:
        return config
    date = None
    if record is not None and record.is_file():
        data = read_object(record, RESUMED).get("data", {})
        date = data.get("date") if isinstance(data, dict) else "none"
        if date is not None and not (isinstance(date, str) and (not date or is_day(date))):
            raise FusionError(f"{record} is damaged: its data.date is no day as 2026-01-31; {RESUMED}")
    if date is None:
        date = cached_date(config) or today()
    return dataclasses.replace(config, data=dataclasses.replace(config.data, date=date))
