"""What a term of the objective is: its name, its options, what it needs, its items and its loss.

Shapes: B batch, S source slots, L pivot tokens, V vocabulary, P matched positions, K kept logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import Selection, TopK
from gwfast_llm.teachers.desk import Carrier, Item
from gwfast_llm.teachers.path import PathMap
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.part import Part
from gwfast_llm.text.examples import IGNORE
from gwfast_llm.text.tensors import Tensors


def kept_by(objective: ObjectiveConfig) -> Selection:
    """How many logits of a position the terms keep that look at the largest ones."""
    return Selection(objective.top_k, objective.top_by, objective.top_amount)


@dataclass(frozen=True)
class Needs:
    """What a term needs of the batch and of the pivot's output.

    Attributes
    ----------
    sources : bool
        The sources; a term that needs them has a part for each source slot.
    pairs : bool
        Matched positions of pivot and source.
    carried : bool
        Distributions of the sources carried along the text, at matched positions.
    source_probs : bool
        Kept probabilities of the sources at matched positions.
    kept : bool
        The pivot's largest logits.
    whole : bool
        The pivot's whole distributions: the output layer then does not work in chunks.
    """

    sources: bool = True
    pairs: bool = False
    carried: bool = False
    source_probs: bool = False
    kept: bool = False
    whole: bool = False

    @property
    def at_pairs(self) -> bool:
        """Whether anything is needed at matched positions."""
        return self.pairs or self.carried or self.source_probs

    def __or__(self, other: Needs) -> Needs:
        """What either needs."""
        return Needs(**{name: value or vars(other)[name] for name, value in vars(self).items()})


NOTHING = Needs(sources=False)


@dataclass(frozen=True)
class Asked:
    """Tokens whose log-probabilities a term will ask the pivot for, at matched positions.

    Attributes
    ----------
    group : str
        Terms that ask for the same tokens use one name, and the tokens are looked up once.
    slot : int
        Source slot.
    ids : Tensor (B, P, K)
        Tokens.
    """

    group: str
    slot: int
    ids: Tensor


class Student(Protocol):
    """The pivot's output on a batch, as the terms see it."""

    @property
    def vocabulary(self) -> int:
        """Logits V of a position."""
        ...

    def cross_entropy(self, labels: Tensor) -> Part:
        """Cross-entropy of the answer tokens."""
        ...

    def log_probs(self, asked: Asked, positions: Tensor) -> Tensor:
        """Log-probabilities (B, P, K) of asked tokens at positions (B, P)."""
        ...

    def gold_log_probs(self, labels: Tensor) -> Tensor:
        """Log-probabilities (B, L) of the next tokens; 0 where the next token belongs to no answer."""
        ...

    def kept(self, how: Selection) -> TopK:
        """Kept logits of every position, (B, L, K)."""
        ...

    def probs_at(self, positions: Tensor) -> Tensor:
        """Probabilities (B, P, V) at positions (B, P)."""
        ...


@dataclass(frozen=True)
class Answer:
    """What one source says about one example, for collation.

    Attributes
    ----------
    item : Item
        Signal, carried targets, shared tokens and weight.
    kept : TopK of (T, K)
        The signal's logits, narrowed to as many as the terms keep.
    """

    item: Item
    kept: TopK

    @property
    def at_pairs(self) -> Tensor:
        """Answer tokens (P,) of the source at matched positions."""
        return self.item.targets.source_index


@dataclass(frozen=True)
class SourceTexts:
    """What a term may look at of a source before training.

    Attributes
    ----------
    name : str
        Name for messages.
    path : PathMap
        Map into the pivot's vocabulary along the text.
    rows : sequence of sequence of int
        Token ids of the training examples under the source's tokenizer.
    """

    name: str
    path: PathMap
    rows: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Preparation:
    """What a term makes once, before training.

    Attributes
    ----------
    carriers : sequence of Carrier
        Another way into the pivot's vocabulary for each source; its targets are in `Item.carried_by`.
    notes : sequence of str
        What the user should know.
    """

    carriers: Sequence[Carrier] = ()
    notes: Sequence[str] = ()


class Term(ABC):
    """A term of the objective: a subclass holds its options, its needs and its loss.

    Attributes
    ----------
    name : str
        Name in configurations and records.
    needs : Needs
        What it needs.
    reference : str
        Published source; empty where there is none.
    remedy : str
        What to do where the term pulls much harder than the cross-entropy, beside lowering its weight.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs] = NOTHING
    reference: ClassVar[str] = ""
    remedy: ClassVar[str] = ""

    @classmethod
    def of(cls, objective: ObjectiveConfig) -> Self:
        """Make the term with its options of a configuration."""
        return cls()

    @property
    def scaled(self) -> bool:
        """Whether the options already do what `remedy` says."""
        return False

    @property
    def on_raw_logits(self) -> bool:
        """Whether the term needs the sources' raw logits, which a server does not give."""
        return False

    @property
    def most(self) -> float:
        """Most that the term may pull beside the cross-entropy; 0 keeps its weight as given.

        On the first batches the weight is lowered until the length of the term's weighted gradient is at most so many
        times the cross-entropy's.
        """
        return 0.0

    def prepare(self, pivot_rows: Sequence[Sequence[int]], sources: Sequence[SourceTexts]) -> Preparation:
        """Look at tokenizers and texts once, before training.

        Raises
        ------
        FusionError
            When the term cannot be used with these tokenizers.
        """
        return Preparation()

    def collate(self, answers: Sequence[Sequence[Answer]]) -> Tensors | None:
        """Make tensors of the term's own, found again in ``batch.own[name]``: one list an example, one entry a slot."""
        return None

    def asks(self, batch: Batch, slot: int) -> Asked | None:
        """Tokens whose log-probabilities the term will ask for at matched positions."""
        return None

    def count(self, batch: Batch, slot: int) -> Tensor:
        """Count the items of a batch, before any model runs: matched positions, or answer tokens."""
        return batch.matched(slot)[1].sum() if self.needs.at_pairs else (batch.labels[:, 1:] != IGNORE).sum()

    def lost(self, batch: Batch, slot: int) -> Part | None:
        """Mass of the source that the term cannot compare token by token; None where it compares no tokens."""
        return None

    @abstractmethod
    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Compute the term on a batch: the sum over its items, in the weights of the sources, and their number."""

    def own(self, batch: Batch) -> Any:
        """Tensors of the term's own, as `collate` made them."""
        return batch.own[self.name]
