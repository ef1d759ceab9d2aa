"""Memory or disk that runs out: recognised in whatever form the libraries raise it, and said in one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gwfast_llm.system.errors import FusionError

MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
DISK = ("no space left", "disk quota exceeded", "pytorchstreamwriter failed", "unexpected pos")  # the last two: torch


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the processor."""
    if isinstance(problem, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(problem, RuntimeError) and any(words in str(problem).lower() for words in MEMORY)


def is_out_of_disk(problem: BaseException) -> bool:
    """Whether an error says that a disk is full."""
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(words in str(problem).lower() for words in DISK)


@contextmanager
def out_of_memory(message: str) -> Iterator[None]:
    """Turn memory that runs out in the block into one line.

    Parameters
    ----------
    message : str
        Who ran out of memory and what to do.

    Raises
    ------
    FusionError
    """
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        if is_out_of_memory(problem):
            raise FusionError(message) from None
        raise


@contextmanager
def out_of_disk(message: str) -> Iterator[None]:
    """Turn a disk that is full in the block into one line.

    Parameters
    ----------
    message : str
        What could not be written, what is kept, and what to do.

    Raises
    ------
    FusionError
    """
    try:
        yield
    except FusionError:
        raise
    except Exception as problem:
        if is_out_of_disk(problem):
            raise FusionError(message) from None
        raise
