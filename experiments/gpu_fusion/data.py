"""Examples, tokenizers and a store of random signals at real sizes, so that the collator has its real work to do."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gwfast_llm.config import ObjectiveConfig
from gwfast_llm.models.logits import TopK
from gwfast_llm.teachers.desk import SourceDesk, path_maps
from gwfast_llm.teachers.signal import Signal
from gwfast_llm.teachers.store import Identity, StoredSource, write_store
from gwfast_llm.teachers.targets import TargetFolder
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.text.examples import Encoded, Example, encode_all

IDENTITY = Identity("random", "random", "none")
LETTERS = string.ascii_letters + "01"


def tokenizer_of(size: int, seed: int) -> PreTrainedTokenizerFast:
    """Tokenizer of `size` pieces of three letters, its ids in an order of its own."""
    pieces = ["".join(piece) for piece in islice(product(LETTERS, repeat=3), size)]
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
    made = Tokenizer(models.WordLevel({pieces[k]: i for i, k in enumerate(order)}, unk_token=pieces[order[0]]))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(".{3}"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=made)


class RandomSource:
    """Says something random about every answer, in the form of a model's signals."""

    name = "random"

    def __init__(self, tokenizer: Any, rows: Sequence[Encoded], size: int, keep: int):
        self.tokenizer = tokenizer
        self.rows = rows
        self._size = size
        self._keep = keep

    def signals(self, indices: Sequence[int]) -> list[Signal]:
        """Signals whose kept tokens hold 0.95 of the mass; the answer's own token is among them half of the time."""
        found = []
        for i in indices:
            draw = torch.Generator().manual_seed(i)
            answer = torch.tensor(self.rows[i].answer)
            values = 3 * torch.randn(len(answer), self._keep, generator=draw)
            values = values.sort(-1, descending=True)[0].log_softmax(-1) - 0.05
            ids = torch.randint(0, self._size, (len(answer), self._keep), generator=draw)
            ids[::2, 0] = answer[::2]
            found.append(Signal(TopK(values, ids, torch.zeros(len(answer))), values[:, 0].clone()))
        return found


@dataclass(frozen=True)
class Data:
    """Examples under two tokenizers of the same pieces, and the folder in which the source's signals are stored."""

    rows: list[Encoded]
    source_rows: list[Encoded]
    examples: list[Example]
    tokenizers: tuple[Any, Any]
    folder: Path

    def collator(self, objective: ObjectiveConfig, keep: int) -> FusionCollator:
        """A collator that has seen no example yet and reads its source from the disk."""
        if not objective.distils:
            return FusionCollator(self.rows, 0, objective, None)
        pivot, own = self.tokenizers
        source = StoredSource("random", self.folder, own, self.source_rows, IDENTITY, keep)
        maps = path_maps(pivot, self.rows, [source], self.examples)
        rows = self.rows, self.source_rows
        carried = TargetFolder(self.folder, source.manifest, pivot, rows, len(self.rows), keep)
        carried.write(source, maps[0])  # as python -m gwfast_llm.cache does; once
        stored = [carried.read("random")]
        desk = SourceDesk(self.rows, [source], [1.0], maps, "mince", keep, stored=stored)
        return FusionCollator(self.rows, 0, objective, desk)


def data_of(size: int, length: int, prompt: int, examples: int, keep: int, folder: Path) -> Data:
    """Draw examples of `length` tokens, `prompt` of them before the answer, and write the store."""
    draw = torch.Generator().manual_seed(2)
    pivot, own = tokenizer_of(size, 0), tokenizer_of(size, 1)
    pieces = pivot.convert_ids_to_tokens(list(range(size)))

    def text(tokens: int) -> str:
        return "".join(pieces[i] for i in torch.randint(1, size, (tokens,), generator=draw).tolist())

    made = [Example(text(prompt), text(length - prompt)) for _ in range(examples)]
    rows, source_rows = encode_all(made, pivot), encode_all(made, own)
    write_store(folder, RandomSource(own, source_rows, size, keep), IDENTITY, keep, "float16")
    return Data(rows, source_rows, made, (pivot, own), folder)
