"""Teachers that run: a frozen model, and the same with its answers kept in memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from gwfast_llm.models.loading import check_vocabulary
from gwfast_llm.models.logits import Selection, TopK, widened
from gwfast_llm.models.output_layer import ChunkedHead, Request
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.trouble import out_of_memory
from gwfast_llm.teachers.signal import BLOCK, Signal, Source
from gwfast_llm.text.examples import Encoded, pad_right

CHUNK = 2048  # positions whose logits are alive at one time


class OnlineSource:
    """A frozen model that is run when asked; top-k logits are kept, everything else is dropped at once.

    Parameters
    ----------
    name : str
        Name for messages and reports.
    model : transformers.PreTrainedModel
        Causal language model; it is put into evaluation mode and never trained.
    tokenizer : transformers.PreTrainedTokenizerFast
        Its tokenizer.
    rows : sequence of Encoded
        The data set under this tokenizer.
    keep : int
        Logits kept a position; 0 keeps all.
    train_size : int, optional
        Number of training examples, which come before the held-out ones; only for messages.
    """

    def __init__(self, name: str, model, tokenizer, rows: Sequence[Encoded], keep: int, train_size: int | None = None):
        self.name = name
        self.tokenizer = tokenizer
        self.rows = rows
        self.model = model.eval().requires_grad_(False)
        self._keep = keep
        self.train_size = train_size
        used = check_vocabulary(f"source {name}", model, tokenizer)
        try:
            self._head = ChunkedHead(model, CHUNK, used)
        except FusionError as problem:
            raise FusionError(f"source {name}: {problem}; give another model as source") from None

    def about(self, rows: Sequence[Encoded]) -> OnlineSource:
        """The same model on other texts."""
        other = copy.copy(self)
        other.rows, other.train_size = rows, None
        return other

    def signals(self, indices: Sequence[int]) -> list[Signal]:
        """Run the model on these examples.

        Raises
        ------
        FusionError
            When the model's logits are not finite, or memory runs out.
        """
        rows = [self.rows[i] for i in indices]
        device = next(self.model.parameters()).device
        ids = pad_right([row.ids for row in rows], self.tokenizer.pad_token_id or 0).to(device)
        mask = pad_right([[1] * len(row.ids) for row in rows], 0).to(device)
        width = ids.shape[1]
        spots = [k * width + t for k, row in enumerate(rows) for t in range(row.prompt_length - 1, len(row.ids) - 1)]
        positions = torch.tensor(spots, device=device)
        full = (
            f"source {self.name}: out of memory on {len(rows)} examples of up to {ids.shape[1]} tokens; lower "
            "data.max_length, load the source in bfloat16, or cache it alone first (python -m gwfast_llm.cache); "
            "what is cached so far is kept"
        )
        with out_of_memory(full), torch.no_grad():
            answers = self._answers(ids, mask, positions, rows)
        for answer, index in zip(answers, indices):
            if not torch.isfinite(answer.kept.logsumexp).all():
                where = f"training example {index}"
                if self.train_size is not None and index >= self.train_size:
                    where = f"held-out example {index - self.train_size}"
                raise FusionError(
                    f"source {self.name}: logits of {where} (counted from 0) are not finite; "
                    "load the model in bfloat16 or float32 instead of float16, or drop the example"
                )
        return answers

    def _answers(self, ids: Tensor, mask: Tensor, positions: Tensor, rows: Sequence[Encoded]) -> list[Signal]:
        """Signals of a padded batch; the logits of a few positions are alive at one time."""
        labels = torch.cat([torch.tensor(row.answer, device=ids.device) for row in rows])
        self._head.pending = Request(positions, (len(rows), ids.shape[1]), labels[:, None], Selection(self._keep))
        self.model(input_ids=ids, attention_mask=mask, use_cache=False)
        found = self._head.answer()
        assert found.kept is not None
        kept, gold = found.kept, found.asked[:, 0] - found.logsumexp
        lengths = [len(row.ids) - row.prompt_length for row in rows]
        columns = [values.cpu().split(lengths) for values in (widened(kept.values), kept.ids, kept.logsumexp, gold)]
        return [Signal(TopK(values, tokens, sums), own) for values, tokens, sums, own in zip(*columns)]


def running(source: Source) -> OnlineSource:
    """The model behind a source.

    Raises
    ------
    FusionError
        Where there is none: the source is read from disk.
    """
    found = getattr(source, "source", source)
    if not isinstance(found, OnlineSource):
        raise FusionError(f"source {source.name} does not run; leave its cache out")
    return found


class Remembered:
    """A source whose answers are kept in memory once given; for small data sets seen many times.

    The source is asked in blocks of fixed examples: the last bits of a logit depend on what else is in the batch, and
    a resumed run, which asks in another order, must see the same bits.

    Parameters
    ----------
    source : Source
        The source to ask once an example.
    """

    def __init__(self, source: Source):
        self.name = source.name
        self.tokenizer = source.tokenizer
        self.rows = source.rows
        self.source = source
        self._known: dict[int, Signal] = {}

    def signals(self, indices: Sequence[int]) -> list[Signal]:
        """Signals of these examples, asking the source only for those not yet known."""
        for block in sorted({i // BLOCK for i in indices if i not in self._known}):
            own = range(block * BLOCK, min((block + 1) * BLOCK, len(self.rows)))
            self._known.update(zip(own, self.source.signals(own)))
        return [self._known[i] for i in indices]
