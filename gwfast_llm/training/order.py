"""The order in which examples are trained on, the same for any number of processes."""

from __future__ import annotations

from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Dataset, Sampler
from transformers import TrainerCallback

from gwfast_llm.terms.collate import NOBODY


class Indices(Dataset):
    """The numbers from `start` to `stop` - 1; the collator looks the examples up."""

    def __init__(self, start: int, stop: int):
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        """Return the number of examples."""
        return self.stop - self.start

    def __getitem__(self, index: int) -> int:
        """Return the number of an example; a place that only fills up a batch stays that."""
        return NOBODY if index == NOBODY else self.start + index


class EvenSampler(Sampler[int]):
    """The shuffled order of a run in one process, filled up so that every process gets every batch.

    Without it accelerate would fill the last batches of an epoch with examples seen already, and two processes would
    train on other sums than one.

    Parameters
    ----------
    size : int
        Number of examples.
    seed : int
        Seed of the order.
    multiple : int
        Examples of a batch over all processes.
    """

    def __init__(self, size: int, seed: int, multiple: int):
        self._order = SeedableRandomSampler(range(size), data_seed=seed)
        self._fill = -size % multiple
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self._order) + self._fill

    def __iter__(self):
        """Go through the places; those that fill up are `NOBODY`."""
        self._order.set_epoch(self.epoch)
        yield from self._order
        yield from [NOBODY] * self._fill


class EpochCallback(TrainerCallback):
    """Tells the order which epoch it is; accelerate does not reach it in a resumed run of several processes."""

    def __init__(self, order: EvenSampler):
        self._order = order

    def on_epoch_begin(self, args, state, control, **kwargs):
        self._order.set_epoch(int((state.epoch or 0.0) + 1e-6))
