"""A source that is served: a running server or recorded answers, behind the protocol of sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from gwfast_llm.config import SourceConfig
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.served.answers import NoAnswer, Scored, signal_of
from gwfast_llm.teachers.served.recorded import Recorded
from gwfast_llm.teachers.served.server import Server
from gwfast_llm.teachers.signal import Signal
from gwfast_llm.text.examples import Encoded


class Scorer(Protocol):
    """What scores prompts."""

    def scored(self, rows: Sequence[Encoded]) -> list[Scored]:
        """Log-probabilities of these examples."""
        ...


class ServedSource:
    """A source whose log-probabilities come from a server or from files.

    Parameters
    ----------
    name : str
        Name for messages.
    tokenizer : transformers.PreTrainedTokenizerFast
        The tokenizer of the model that is served.
    rows : sequence of Encoded
        The data set under it.
    keep : int
        Log-probabilities kept a token.
    scorer : Scorer
        Where they come from.
    """

    def __init__(self, name: str, tokenizer: Any, rows: Sequence[Encoded], keep: int, scorer: Scorer):
        self.name = name
        self.tokenizer = tokenizer
        self.rows = rows
        self._keep = keep
        self._scorer = scorer
        self._size = max(tokenizer.get_vocab().values()) + 1

    def signals(self, indices: Sequence[int]) -> list[Signal]:
        """Ask for these examples.

        Raises
        ------
        FusionError
            When an answer cannot be used, naming source and example.
        """
        rows = [self.rows[i] for i in indices]
        bos = self.tokenizer.bos_token_id
        where = f"examples {indices[0]} to {indices[-1]}"
        try:
            found = []
            for i, row, scored in zip(indices, rows, self._scorer.scored(rows)):
                where = f"example {i}"
                found.append(signal_of(row, scored, self._keep, self._size, bos))
            return found
        except NoAnswer as problem:
            raise FusionError(f"source {self.name}: {where}: {problem}") from None


def served_source(config: SourceConfig, tokenizer: Any, rows: Sequence[Encoded], keep: int) -> ServedSource:
    """The source of a configuration that gives ``served``."""
    if config.served.startswith(("http://", "https://")):
        scorer: Scorer = Server(config.served, config.served_name or config.model, tokenizer, keep)
    else:
        scorer = Recorded(config.served, tokenizer.bos_token_id)
    return ServedSource(config.label, tokenizer, rows, keep, scorer)
