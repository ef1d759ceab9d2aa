"""The angle between the gradient of each term and that of the cross-entropy on held-out text.

A distillation term helps only if a step along its gradient lowers the loss on text that was not trained on.  The cosine
between its gradient and the cross-entropy's on held-out examples says so before training.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import TrainerCallback

from gwfast_llm.config import CROSS_ENTROPY
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.system.trouble import out_of_memory
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import IGNORE
from gwfast_llm.text.special_tokens import stop_tokens
from gwfast_llm.training.arguments import pivot_memory
from gwfast_llm.training.gradient_watch import TOO_LONG
from gwfast_llm.training.gradients import gradient_of, length_of
from gwfast_llm.training.observers import Scene, spread

SURE = 0.9  # above this probability of one token the source follows the layout and chooses no word
LOSS_SAID = 0.01  # share of lost mass from which it is said
AGAINST = -0.1  # cosine below which a part is said to point against the cross-entropy


@dataclass(frozen=True)
class Agreement:
    """How one part's gradient lies to the cross-entropy's on held-out examples.

    Attributes
    ----------
    part : str
        Name of the part.
    cosine : float
        Cosine of the angle between the two gradients, over all held-out answer tokens.
    cosine_text : float
        The same over the tokens where the source itself is unsure (none of its probabilities above 0.9): predictable
        layout tokens dominate the plain mean.  NaN where there are none.
    size : float
        Length of the part's gradient over that of the cross-entropy's on the same examples.
    weight : float
        Weight of the part, over that of the cross-entropy.
    most : float
        Most that the part may pull; 0 where its weight stays as given.
    cosine_end, cosine_ordinary : float
        The cosine with the cross-entropy of the held-out tokens that end an answer, and of all others; NaN where there
        are none.
    lost : float
        Share of the sources' mass that the part cannot compare token by token; NaN where it compares no tokens.
    """

    part: str
    cosine: float
    cosine_text: float
    size: float
    weight: float = 1.0
    most: float = 0.0
    cosine_end: float = float("nan")
    cosine_ordinary: float = float("nan")
    lost: float = float("nan")

    @property
    def pull(self) -> float:
        """Weight times length of the gradient, over that of the cross-entropy."""
        return self.weight * self.size

    @property
    def against(self) -> bool:
        """Whether the part points against the cross-entropy, over all held-out tokens.

        The cosine over unsure tokens is shown and not judged: few tokens make it, and at the start even that of the
        cross-entropy on other examples may be negative there.
        """
        return self.cosine < AGAINST

    def sentence(self, used: Collection[str] = ()) -> str:
        """The finding in words, with what to do about it where it is bad; `used` are the terms of the objective."""
        text = (
            f"{self.part}: cosine with the held-out cross-entropy {self.cosine:+.2f} "
            f"({self.cosine_text:+.2f} where the source is unsure), gradient {self.size:.2g} times as long"
        )
        if self.part != CROSS_ENTROPY:
            text += f", {self.pull:.2g} times with its weight"
        if math.isfinite(self.cosine_end):
            text += f"; {self.cosine_end:+.2f} where answers end, {self.cosine_ordinary:+.2f} elsewhere"
        if self.lost > LOSS_SAID:
            text += f"; {self.lost:.0%} of the source's mass has no token to go to"
        if self.most and self.pull > self.most:
            text += " before it is lowered"
        if not self.against and self.pull > TOO_LONG and not self.most:
            return f"warning: {text}; it drowns the cross-entropy: lower its weight"
        if not self.against:
            return text
        if self.part == CROSS_ENTROPY:
            fix = "the training examples teach something else than the held-out ones: look at both"
        elif "path" in used:
            fix = "lower its weight" + ", or leave it out" * (self.part != "path")
        else:
            fix = "use preset path instead (CE + 3 path-KL), or lower its weight"
        return f"warning: {text}; it points against it: {fix}"


def diagnose(
    model: Any,
    batches: Sequence[Batch],
    held_out: Sequence[Batch],
    objective: Objective,
    head: ChunkedHead | None = None,
    done: Callable[[], object] | None = None,
    ends: Collection[int] = (),
) -> list[Agreement]:
    """Compare the gradient of every term with the cross-entropy's on held-out text.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        The pivot; its weights and gradients are left as they are.
    batches : sequence of Batch
        Training examples, from `gwfast_llm.terms.collate.FusionCollator`, in batches small
        enough for one backward pass.
    held_out : sequence of Batch
        Other examples, collated with `path` targets.
    objective : Objective
        Its terms are measured.
    head : ChunkedHead, optional
        Works the model's output layer in chunks, as in training.
    done : callable, optional
        Called after every batch and pass: `passes` times in all.
    ends : collection of int
        Tokens that end an answer.

    Returns
    -------
    list of Agreement
        One a part, the cross-entropy on the training examples first.

    Notes
    -----
    Cost: one forward and backward pass a part and batch, and memory for four gradients.
    """
    was_training = model.training
    model.eval()
    weights = [p for p in model.parameters() if p.requires_grad]
    plain = Objective.cross_entropy()
    every = gradient_of(model, held_out, weights, plain, head, done=done)
    unsure = [batch.relabelled(_unsure_labels(batch)) for batch in held_out]
    unsure = [batch for batch in unsure if (batch.labels != IGNORE).any()]
    text = gradient_of(model, unsure, weights, plain, head, done=done) if unsure else None
    apart = [
        gradient_of(model, some, weights, plain, head) if (some := _only(held_out, ends, inside)) and ends else None
        for inside in (True, False)
    ]
    others = [objective.only(own.term) for own in objective.terms if own.term.name != CROSS_ENTROPY]
    found: list[Agreement] = []
    for one in [plain, *others]:
        own = gradient_of(model, batches, weights, one, head, done=done)
        term = one.terms[0].term
        cosines = [_cosine(own, other) if other else float("nan") for other in apart]
        made = _agreement(term.name, own, every, text)
        lost = _lost(one, batches)
        found.append(dataclasses.replace(made, cosine_end=cosines[0], cosine_ordinary=cosines[1], lost=lost))
    model.train(was_training)
    size = max(found[0].size, 1e-30)
    given = {own.term.name: own for own in objective.terms}
    unit = given[CROSS_ENTROPY].weight if CROSS_ENTROPY in given else 1.0
    return [
        dataclasses.replace(
            one,
            size=one.size / size,
            weight=given[one.part].weight / unit if one.part in given else 1.0,
            most=given[one.part].term.most if one.part in given else 0.0,
        )
        for one in found
    ]


def passes(objective: Objective, batches: int, held_out: int) -> int:
    """Forward and backward passes of a diagnosis, at most."""
    return batches * len({CROSS_ENTROPY, *objective.names}) + 2 * held_out


def _agreement(part: str, own: Sequence[Tensor], every: Sequence[Tensor], text: Sequence[Tensor] | None) -> Agreement:
    """How one gradient lies to the two of the held-out cross-entropy; its size is its own length."""
    unsure = _cosine(own, text) if text else float("nan")
    return Agreement(part, _cosine(own, every), unsure, length_of(own))


def _only(batches: Sequence[Batch], ends: Collection[int], inside: bool) -> list[Batch]:
    """The batches with the labels that end an answer, or with all others; without those that have none."""
    found = []
    for batch in batches:
        is_end = torch.isin(batch.labels, torch.tensor(sorted(ends), dtype=batch.labels.dtype))
        labels = torch.where(is_end == inside, batch.labels, torch.full_like(batch.labels, IGNORE))
        if (labels != IGNORE).any():
            found.append(batch.relabelled(labels))
    return found


def _lost(objective: Objective, batches: Sequence[Batch]) -> float:
    """Share of the sources' mass that the one term of an objective cannot compare; NaN where it compares no tokens."""
    parts = [own.term.lost(batch, slot) for batch in batches for own, slot in objective.parts]
    known = [part for part in parts if part is not None]
    count = sum(float(part.count) for part in known)
    return sum(float(part.total) for part in known) / count if count else float("nan")


def _unsure_labels(batch: Batch) -> Tensor:
    """Labels of the tokens for which the source has no single likely continuation, the others ignored."""
    assert batch.pairs is not None
    assert batch.carried is not None
    labels = torch.full_like(batch.labels, IGNORE)
    sure = batch.carried.probs.amax(-1) > SURE
    for b, s, p in (batch.pairs.mask & ~sure).nonzero().tolist():
        at = int(batch.pairs.index[b, s, p]) + 1
        labels[b, at] = batch.labels[b, at]
    return labels


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return float(sum((x.double() * y.double()).sum() for x, y in zip(a, b)))


def _cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    scale = (_dot(a, a) * _dot(b, b)) ** 0.5
    return _dot(a, b) / scale if scale > 0 else float("nan")


class DiagnosisCallback(TrainerCallback):
    """Writes diagnoses into the log history, where a resumed run finds them again.

    Parameters
    ----------
    first : sequence of Agreement
        What was found before the first step; none in a run that goes on.
    again : callable
        Makes a diagnosis of a model as it is now.
    every : int
        Steps between further ones, beside that after the last step; 0 for none.
    """

    def __init__(self, first: Sequence[Agreement], again: Callable[[Any], list[Agreement]], every: int):
        self._first = first
        self._again = again
        self._every = every

    def on_train_begin(self, args, state, control, **kwargs):
        """Write one row a part."""
        self._write(state, self._first)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        """Make a diagnosis where it is time."""
        due = state.global_step % self._every == 0 if self._every else False
        if self._every and (due or state.global_step == state.max_steps):
            self._write(state, self._again(model))

    def _write(self, state: Any, found: Sequence[Agreement]) -> None:
        state.log_history += [{"step": state.global_step, **dataclasses.asdict(one)} for one in found]


def attach_diagnosis(scene: Scene) -> list[TrainerCallback]:
    """Compare gradients before the first step and along training, where ``train.diagnose`` asks for it."""
    config, arguments = scene.prepared.config, scene.start.arguments
    if not config.train.diagnose or (scene.start.last is not None and not config.train.diagnose_every):
        return []
    # in evaluation mode nothing is checkpointed: where memory is short, one example at a time
    step = 1 if scene.loaded.chunk or config.train.gradient_checkpointing else config.train.batch_size
    own, carried = scene.collator(config.objective), scene.carried()
    examples = spread(range(scene.prepared.data.size), config.train.diagnose)
    fix = f"{pivot_memory(config, False)}; --train.diagnose 0 leaves the diagnosis out, which needs most"
    batches = Collated(own, _runs(examples, step))
    held_out = Collated(carried, _runs(scene.held_out(), step))
    quiet = scene.quiet or not arguments.should_log
    talks = any(example.messages for example in scene.prepared.data.examples)
    ends = stop_tokens(scene.prepared.tokenizer, talks) if config.data.end_token else []

    def again(model: Any, done: Callable[[], object] | None = None) -> list[Agreement]:
        computing = torch.autocast(arguments.device.type, torch.bfloat16, enabled=scene.loaded.bf16)
        with out_of_memory(fix), computing:
            return diagnose(model, batches, held_out, scene.objective, scene.pivot.head, done, ends)

    found: list[Agreement] = []
    if scene.start.last is None:
        total = passes(scene.objective, len(batches), len(held_out))
        with tqdm(total=total, desc="diagnosis", disable=quiet, leave=False) as bar:
            found = again(scene.pivot.model.to(arguments.device), bar.update)
        if not quiet:
            print("\n".join(agreement.sentence(scene.objective.names) for agreement in found))
    return [DiagnosisCallback(found, again, config.train.diagnose_every)]


class Collated(Sequence[Batch]):
    """Batches that are made when they are asked for: one at a time is alive.

    Parameters
    ----------
    collator : FusionCollator
        Makes them.
    runs : sequence of list of int
        Examples of each.
    """

    def __init__(self, collator: FusionCollator, runs: Sequence[list[int]]):
        self._collator = collator
        self._runs = runs

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, number: Any) -> Any:
        return self._collator(self._runs[number])


def _runs(numbers: list[int], step: int) -> list[list[int]]:
    """The numbers in batches of at most `step`."""
    return [numbers[start : start + step] for start in range(0, len(numbers), step)]
