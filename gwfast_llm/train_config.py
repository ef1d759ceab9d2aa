"""The optimisation of a configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from gwfast_llm.system.errors import require
from gwfast_llm.system.values import check_fields

LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    epochs : float
        Passes over the training examples in place of steps; 0 for steps.
    batch_size : int
        Examples a step and process, before accumulation.
    accumulate : int
        Batches whose gradients are added before a step.
    lr, warmup_steps, weight_decay, max_grad_norm : float
        AdamW with linear warm-up, gradients clipped.
    schedule : {"linear", "cosine", "constant"}
        How the learning rate falls after the warm-up: to zero in a line or along a cosine, or not at all.
    seed : int
        Seed of order and dropout.
    log_every : int
        Steps between logged losses.
    interval_every : int
        Steps between measurements of the certified GW interval on held-out examples; 0 switches it off.
    eval_every : int
        Steps between evaluations of the objective on held-out examples, beside those before the first step and after
        the last.  -1 (the default) makes those two alone, where there is data.validation; 0 makes none.
    samples : int
        Examples, held-out ones where there are some, whose prompts the pivot answers before the first step and after
        the last, for the report; 0 for none.
    save_every : int
        Steps between checkpoints from which --resume goes on.  -1 (the default) writes one after every ten minutes
        (ten times what writing takes, where that is longer) and after the last step of runs of more than a minute;
        0 writes none but the one of Ctrl-C, a plain kill or a closed terminal.  In files and flags a number that is
        not whole is rounded, with a note.
    diagnose : int
        Training examples on which every part's gradient is compared with the held-out cross-entropy's before the
        first step; 0 switches it off.  Needs data.validation.
    diagnose_every : int
        Steps between further diagnoses, beside one after the last step: how each part's gradient lies to that of the
        held-out cross-entropy, also where answers end and elsewhere apart.  0 for none.
    chunk : int
        Positions at which logits exist at one time, at the cost of one more product with the output layer.  -1 (the
        default) chooses: never more than one (B, L, V) tensor's worth, whole logits where a batch's take less than 64
        MiB or objective.gld_aligned needs them.  0 makes the whole tensor, several copies of which are then alive.
    packing : bool
        Put the examples of a batch into as few rows of data.max_length tokens as fit, none seeing another: the same
        losses without the cost of padding.
    on_policy : float
        Share of the batches whose answers the pivot writes itself, to prompts of the training data; the sources, which
        must run, score them, and parts that need no source do not count there.  0 for none.
    on_policy_every : int
        Steps for which the pivot writes answers at one time.  They are kept with the checkpoints.
    on_policy_length : int
        Tokens of such an answer, at most.
    on_policy_temperature : float
        Temperature at which they are drawn; 0 takes the most probable token.
    bf16, gradient_checkpointing : bool
        Save memory and time on GPUs.  bf16 computes in bfloat16 (autocast); a pivot that comes in bfloat16 and is
        trained whole does so in any case where the GPU can.
    report_to : list of str
        Loggers beside our own records: tensorboard, wandb, trackio, ...
    """

    steps: int = 1000
    epochs: float = 0.0
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 1e-5
    warmup_steps: int = 20
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    seed: int = 0
    log_every: int = 10
    interval_every: int = 0
    eval_every: int = -1
    samples: int = 3
    save_every: int = -1
    diagnose: int = 32
    diagnose_every: int = 0
    chunk: int = -1
    packing: bool = False
    on_policy: float = 0.0
    on_policy_every: int = 10
    on_policy_length: int = 128
    on_policy_temperature: float = 1.0
    bf16: bool = False
    gradient_checkpointing: bool = False
    report_to: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_fields(self, "train")
        require(self.seed <= LARGEST_SEED, f"train.seed is {self.seed}; expected at most {LARGEST_SEED}")
        for name in ("steps", "batch_size", "accumulate", "log_every"):
            value = getattr(self, name)
            require(value >= 1, f"train.{name} is {value}; expected at least 1")
        for name in (
            "epochs",
            "warmup_steps",
            "weight_decay",
            "seed",
            "interval_every",
            "samples",
            "diagnose",
            "diagnose_every",
        ):
            value = getattr(self, name)
            require(value >= 0, f"train.{name} is {value}; expected 0 or more")
        require(
            self.save_every >= -1,
            f"train.save_every is {self.save_every}; expected 1 or more, 0 for none, -1 to save by time",
        )
        require(
            self.eval_every >= -1,
            f"train.eval_every is {self.eval_every}; expected 1 or more, 0 for none, -1 for before and after alone",
        )
        require(self.chunk >= -1, f"train.chunk is {self.chunk}; expected 1 or more, 0 for whole logits, -1 to choose")
        require(0 <= self.on_policy <= 1, f"train.on_policy is {self.on_policy}; expected a share from 0 to 1")
        for name in ("on_policy_every", "on_policy_length"):
            value = getattr(self, name)
            require(value >= 1, f"train.{name} is {value}; expected at least 1")
        require(
            self.on_policy_temperature >= 0,
            f"train.on_policy_temperature is {self.on_policy_temperature}; expected 0 or more",
        )
        require(self.lr > 0, f"train.lr is {self.lr}; expected a positive number")

    def steps_on(self, examples: int, processes: int = 1) -> int:
        """Optimiser steps on so many training examples: those of the epochs where epochs are given."""
        if not self.epochs:
            return self.steps
        return max(1, math.ceil(self.epochs * examples / (self.batch_size * self.accumulate * processes)))
