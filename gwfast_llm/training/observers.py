"""The fifth stage: what looks on while a run trains.

Each observer says when it is wanted, and attaches itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transformers import TrainerCallback

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.teachers.desk import SourceDesk
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.training.pivot import LoadedPivot, TrainablePivot
from gwfast_llm.training.prepare import Prepared
from gwfast_llm.training.start import Start

INTERVAL_EXAMPLES = 56  # at most, of those held out; the diagnosis takes twice train.diagnose


@dataclass(frozen=True)
class Scene:
    """What an observer may look at.

    Attributes
    ----------
    prepared : Prepared
        Configuration and data.
    objective : Objective
        Terms of the run.
    desk : SourceDesk or None
        The sources.
    loaded, pivot : LoadedPivot, TrainablePivot
        The pivot as it was loaded and as it is trained.
    start : Start
        Settings, and the checkpoint to go on from.
    quiet : bool
        Print nothing.
    """

    prepared: Prepared
    objective: Objective
    desk: SourceDesk | None
    loaded: LoadedPivot
    pivot: TrainablePivot
    start: Start
    quiet: bool

    def held_out(self) -> list[int]:
        """Numbers of held-out examples to look at."""
        rows, size = len(self.prepared.rows), self.prepared.data.size
        return spread(range(size, rows), max(INTERVAL_EXAMPLES, 2 * self.prepared.config.train.diagnose))

    def collator(self, objective: ObjectiveConfig) -> FusionCollator:
        """Collator of unpacked rows for the terms of an objective."""
        return FusionCollator(self.prepared.rows, self.prepared.tokenizer.pad_token_id or 0, objective, self.desk)

    def carried(self) -> FusionCollator:
        """Collator of targets carried along the text."""
        return self.collator(ObjectiveConfig(preset="path"))


class LoggingCallback(TrainerCallback):
    """A callback that writes into the log of the trainer, which sets `log` once it exists."""

    log: Callable[[dict[str, float]], None] | None = None


Observer = Callable[[Scene], list[TrainerCallback]]


def observe(scene: Scene, observers: tuple[Observer, ...]) -> tuple[list[TrainerCallback], list[str]]:
    """Let observers of held-out examples attach themselves.

    Parameters
    ----------
    scene : Scene
        What they may look at.
    observers : tuple of Observer
        Each gives its callbacks, none where it is not wanted.

    Returns
    -------
    list of transformers.TrainerCallback
    list of str
        What the user should know.
    """
    if not scene.prepared.looks_ahead or not scene.held_out():
        return [], []
    if scene.prepared.sharded:
        return [], ["the model is sharded: no diagnosis and no GW interval; run them on one GPU with fewer steps"]
    if scene.desk is None:
        return [], []
    return [callback for observer in observers for callback in observer(scene)], []


def spread(numbers: range, count: int) -> list[int]:
    """At most `count` of the numbers, evenly spread: data sets are often sorted by kind."""
    return list(numbers[:: max(1, len(numbers) // count)][:count])
