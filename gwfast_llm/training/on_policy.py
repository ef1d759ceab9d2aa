"""Answers that the pivot writes itself while it is trained, kept with the run, and batches of them.

Every so many steps the pivot answers prompts of the training data; until the next time, a share of the batches is made
of these answers in the place of the given ones, scored by the sources through the same collation.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gwfast_llm.config import FuseConfig
from gwfast_llm.models.writing import AT_ONCE, written
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import read_object, write_text
from gwfast_llm.teachers.online import running
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.collate import NOBODY, FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import Encoded, Example, encode_all, spelling
from gwfast_llm.text.special_tokens import stop_tokens
from gwfast_llm.training.observers import Scene

FOLDER = "written"  # beside the checkpoints


def check_on_policy(config: FuseConfig, sharded: bool) -> None:
    """Refuse what does not go with answers of the pivot's own.

    Raises
    ------
    FusionError
        Where the model is spread over processes, or a source cannot be asked about new texts.
    """
    if not config.train.on_policy:
        return
    if sharded:
        raise FusionError("train.on_policy does not go with FSDP or DeepSpeed; use --train.on_policy 0")
    stored = [source.label for source in config.sources if source.cache]
    if stored or not config.sources:
        what = f"source {stored[0]} is read from its cache" if stored else "there are none"
        raise FusionError(
            f"train.on_policy needs sources that run, to score what the pivot writes, and {what}; leave the cache out, "
            "or use --train.on_policy 0"
        )
    if not any(own.term.needs.sources for own in Objective.of(config.objective, 1).terms):
        raise FusionError("train.on_policy needs a part that asks the sources; the objective has none")


def is_own(batch: int, share: float) -> bool:
    """Whether the batch of this number, over the whole run, is one of the pivot's own answers: evenly spread.

    Examples
    --------
    >>> [is_own(k, 0.4) for k in range(5)]
    [False, False, True, False, True]
    """
    return int((batch + 1) * share + 1e-9) > int(batch * share + 1e-9)


@dataclass(frozen=True)
class Own:
    """One answer of the pivot.

    Attributes
    ----------
    example : int
        Number of the training example whose prompt it answers.
    ids : list of int
        Its tokens, the one that ends it among them.
    """

    example: int
    ids: list[int]


@dataclass(frozen=True)
class Period:
    """The answers of some steps.

    Attributes
    ----------
    first : int
        Step before which they were written.
    places : list of int
        Row of each answer in the order in which batches take them; `NOBODY` for an answer without text.
    collator : FusionCollator or None
        Makes batches of them; None where there is no text at all.
    """

    first: int
    places: list[int]
    collator: FusionCollator | None


class OnPolicy:
    """Lets the pivot write, and makes batches of what it has written.

    What is written depends on the seed, the step and the weights alone, and not on the number of processes: prompts
    are answered in fixed groups, each with a seed of its own.

    Parameters
    ----------
    scene : Scene
        The run; its sources run.
    folder : Path or None
        Where the answers are kept for a run that goes on; nowhere without it.
    """

    def __init__(self, scene: Scene, folder: Path | None):
        self._scene = scene
        self._train = scene.prepared.config.train
        self._folder = folder
        self._period: Period | None = None

    def replaced(self, samples: Sequence[Batch], model: Any, step: int, rank: int, world: int) -> list[Batch]:
        """The batches of a step with the pivot's own answers in the place of some.

        Parameters
        ----------
        samples : sequence of Batch
            Of this process.
        model : transformers.PreTrainedModel or peft.PeftModel
            The pivot as it is now.
        step : int
            Steps that are done.
        rank, world : int
            Number of this process, and of all.
        """
        wanted = self._wanted(step)
        if not any(is_own(step * self._train.accumulate + k, self._train.on_policy) for k in range(len(samples))):
            return list(samples)
        period, found = self._at(step, model, rank, world), list(samples)
        size = self._train.batch_size
        for k in range(len(samples)):
            number = step * self._train.accumulate + k
            if number not in wanted or period.collator is None:
                continue
            start = (wanted.index(number) * world + rank) * size
            own = period.places[start : start + size]
            found[k] = period.collator(own).as_written()
        return found

    def _first(self, step: int) -> int:
        return step - step % self._train.on_policy_every

    def _wanted(self, step: int) -> list[int]:
        """Numbers of the batches of a period that are made of the pivot's answers."""
        first = self._first(step)
        last = min(first + self._train.on_policy_every, self._train.steps)
        numbers = range(first * self._train.accumulate, last * self._train.accumulate)
        return [n for n in numbers if is_own(n, self._train.on_policy)]

    def _at(self, step: int, model: Any, rank: int, world: int) -> Period:
        """The answers for a step: those that are there, those that were kept, or new ones."""
        first = self._first(step)
        if self._period is None or self._period.first != first:
            count = len(self._wanted(step)) * self._train.batch_size * world
            # a run that goes on within a period reads what was written before its first step
            owns = self._kept(first, count) if self._goes_on(step) else None
            if owns is None:
                owns = self._write(model, first, count, rank, world)
                self._keep(first, owns, rank)
            self._period = self._made(first, owns)
        return self._period

    def _goes_on(self, step: int) -> bool:
        """Whether earlier steps of the period were made by a process that has ended."""
        before = [n for n in self._wanted(step) if n < step * self._train.accumulate]
        return self._period is None and bool(before)

    def _write(self, model: Any, first: int, count: int, rank: int, world: int) -> list[Own]:
        """Let the pivot answer; the groups are shared among the processes."""
        scene, prepared = self._scene, self._scene.prepared
        draw, chosen = random.Random(f"{self._train.seed} {first}"), []
        while len(chosen) < count:
            chosen += draw.sample(range(prepared.data.size), prepared.data.size)
        chosen = chosen[:count]
        groups = [chosen[k : k + AT_ONCE] for k in range(0, count, AT_ONCE)]
        stops = self._stops()
        device = next(model.parameters()).device
        found: dict[int, list[list[int]]] = {}
        with torch.autocast(device.type, torch.bfloat16, enabled=scene.loaded.bf16):
            for k in range(rank, len(groups), world):
                rows = [prepared.rows[i] for i in groups[k]]
                room = prepared.config.data.max_length - max(row.prompt_length for row in rows)
                found[k] = written(
                    model,
                    [row.ids[: row.prompt_length] for row in rows],
                    stops,
                    max(1, min(self._train.on_policy_length, room)),
                    prepared.tokenizer.pad_token_id or 0,
                    self._train.on_policy_temperature,
                    (self._train.seed * 1_000_003 + first * 1_009 + k) % 2**31,
                )
        for other in _gathered(found, world):
            found |= other
        answers = [ids for k in range(len(groups)) for ids in found[k]]
        return [Own(i, ids) for i, ids in zip(chosen, answers, strict=True)]

    def _stops(self) -> list[int]:
        prepared = self._scene.prepared
        return stop_tokens(prepared.tokenizer, any(e.messages for e in prepared.data.examples))

    def _path(self, first: int) -> Path | None:
        return None if self._folder is None else self._folder / FOLDER / f"step-{first:08d}.json"

    def _keep(self, first: int, owns: list[Own], rank: int) -> None:
        path = self._path(first)
        if path is not None and rank == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps({"first": first, "answers": [[own.example, own.ids] for own in owns]}) + "\n")

    def _kept(self, first: int, count: int) -> list[Own]:
        """What was written at the beginning of a period.

        Raises
        ------
        FusionError
            When it is not there any more, or is another.
        """
        path = self._path(first)
        assert path is not None, "a run that goes on has a folder"
        advice = "the run cannot be resumed from there; start anew with --overwrite"
        answers = read_object(path, advice).get("answers")
        if not isinstance(answers, list) or len(answers) != count:
            raise FusionError(f"{path} is damaged: it does not hold {count} answers; {advice}")
        return [Own(example, ids) for example, ids in answers]

    def _made(self, first: int, owns: list[Own]) -> Period:
        """Rows of the answers under every tokenizer, and what the sources say about them."""
        scene, prepared = self._scene, self._scene.prepared
        assert scene.desk is not None, "checked before"
        stops, data = set(self._stops()), prepared.data
        rows: list[Encoded] = []
        texts: list[Example] = []
        closed: list[bool] = []
        places: list[int] = []
        for own in owns:
            prompt = prepared.rows[own.example]
            made = own_row(prompt.ids[: prompt.prompt_length], own.ids, stops, prepared.tokenizer)
            places.append(NOBODY if made is None else len(rows))
            if made is not None:
                row, text = made
                rows.append(row)
                texts.append(_with_answer(data.examples[own.example], text))
                closed.append(bool(own.ids) and own.ids[-1] in stops)
        if not rows:
            return Period(first, places, None)
        desk = scene.desk.about(
            rows,
            [
                running(source).about(_encoded(texts, closed, source.tokenizer, data.date))
                for source in scene.desk.sources
            ],
        )
        config, longest = prepared.config, prepared.config.data.max_length
        pad = prepared.tokenizer.pad_token_id or 0
        packed = longest if config.train.packing else 0
        return Period(first, places, FusionCollator(rows, pad, config.objective, desk, packed))


def own_row(prompt: list[int], ids: list[int], stops: set[int], tokenizer: Any) -> tuple[Encoded, str] | None:
    """The row of an answer as the pivot wrote it, and its text; None where it has none.

    An answer that holds a mark other than its end, or that stops inside a character, is cut before that.  The tokens
    are those that were written, which need not be those that the tokenizer would cut.

    Parameters
    ----------
    prompt, ids : list of int
        Tokens of the prompt, and of the answer.
    stops : set of int
        Tokens that end an answer.
    tokenizer : transformers.PreTrainedTokenizerFast
        The pivot's.
    """
    table = spelling(tokenizer)
    pieces: list[bytes] = []
    for i in ids:
        piece = table[i] if i < len(table) else None
        if piece is None or i in stops:
            break
        pieces.append(piece)
    closed = len(pieces) < len(ids) and ids[len(pieces)] in stops
    while pieces and not _is_text(b"".join(pieces)):
        pieces.pop()
        closed = False
    if not any(pieces):
        return None
    ends, at = [], 0
    for piece in pieces:
        at += len(piece)
        ends.append(at)
    own = list(ids[: len(pieces)])
    if closed:
        own.append(ids[len(pieces)])
        ends.append(at + 1)
    return Encoded(prompt + own, len(prompt), ends, cut=not closed), b"".join(pieces).decode()


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _with_answer(example: Example, text: str) -> Example:
    return Example(example.prompt, text, example.task, None, example.messages, example.tools, example.line)


def _encoded(texts: Sequence[Example], closed: Sequence[bool], tokenizer: Any, date: str) -> list[Encoded]:
    """The answers under a source's tokenizer, closed where the pivot has closed them."""
    ends = stop_tokens(tokenizer, any(e.messages for e in texts))
    rows = encode_all(texts, tokenizer, date=date)
    found = []
    for row, text, done in zip(rows, texts, closed):
        if done and ends:
            row = Encoded([*row.ids, ends[0]], row.prompt_length, [*row.ends, len(text.response.encode()) + 1])
        found.append(row)
    return found


def _gathered(found: dict[int, Any], world: int) -> list[dict[int, Any]]:
    """What every process has found."""
    if world == 1:
        return [found]
    from accelerate.utils import gather_object

    return list(gather_object([found]))


Writer = Callable[[Sequence[Batch], Any, int, int, int], list[Batch]]


def writer_of(scene: Scene, folder: Path | None) -> Writer | None:
    """What puts the pivot's own answers into the batches of a step; None where the configuration asks for none."""
    return OnPolicy(scene, folder).replaced if scene.prepared.config.train.on_policy else None
