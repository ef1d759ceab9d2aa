"""The pivot's own answers beside given ones, at as many teacher tokens, on the small benchmark.

A teacher token is an answer token of a batch that the sources are asked about.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import ClassVar

import torch
from torch import Tensor

from experiments.shared.benchmark import SELECTION_SEED, opened, pool, scores
from experiments.shared.jobs import Job
from experiments.shared.methods import by_name
from experiments.shared.models import built
from experiments.shared.records import Record, Row, where
from experiments.shared.training import BATCH, LEARNING_RATES, WARM_UP, Run, train
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.part import Part
from gwfast_llm.terms.table import TERMS, register_term
from gwfast_llm.terms.term import Needs, Student, Term
from gwfast_llm.text.examples import IGNORE
from gwfast_llm.text.reading import write_examples
from gwfast_llm.training.fusion import fuse

SEEDS, STEPS = 3, 200
LONGEST = 48  # tokens of an answer of the pivot


@dataclass(frozen=True)
class Policy:
    """Whose answers are trained on.

    Attributes
    ----------
    name : str
        In records.
    share : float
        Share of the batches that the pivot answers.
    reverse : bool
        Reverse KL.
    """

    name: str
    share: float
    reverse: bool


POLICIES = (
    Policy("given", 0.0, False),
    Policy("given, reverse", 0.0, True),
    Policy("own half", 0.5, False),
    Policy("own half, reverse", 0.5, True),
)
STARTS = ("weak", "taught")  # the pivot as it is, and after as many steps of path on given answers


class TeacherTokens(Term):
    """Counts the answer tokens that sources are asked about; adds nothing to the loss."""

    name: ClassVar[str] = "teacher_tokens"
    needs: ClassVar[Needs] = Needs(pairs=True)
    seen: ClassVar[int] = 0

    def part(self, student: Student, batch: Batch, slot: int) -> Part:
        """Add to the count."""
        if slot == 0:
            TeacherTokens.seen += int((batch.labels != IGNORE).sum())
        nothing: Tensor = student.cross_entropy(batch.labels).total * 0
        return Part(nothing, torch.ones((), dtype=nothing.dtype))


def run_of(policy: Policy, pivot: Path, data: Path, weight: float, rate: float, steps: int, seed: int) -> FuseConfig:
    """The configuration of a run."""
    return FuseConfig(
        ModelConfig(str(pivot)),
        DataConfig(str(data), max_length=96, end_token=False),
        [SourceConfig(str(built(name)), name=name) for name in "AB"],
        ObjectiveConfig(
            preset="custom",
            path=weight,
            source_top_k=0,
            divergence="reverse" if policy.reverse else "forward",
            terms={TeacherTokens.name: 1.0},
        ),
        TrainConfig(
            steps=steps,
            batch_size=BATCH,
            lr=rate,
            warmup_steps=WARM_UP,
            seed=seed,
            log_every=50,
            save_every=0,
            samples=0,
            diagnose=0,
            on_policy=policy.share,
            on_policy_every=10,
            on_policy_length=LONGEST,
        ),
    )


@contextmanager
def counted() -> Iterator[None]:
    """Teacher tokens are counted from 0, by a term that is known only here."""
    TeacherTokens.seen = 0
    register_term(TeacherTokens)
    try:
        yield
    finally:
        TERMS.pop(TeacherTokens.name)


def ran(policy: Policy, start: str, weight: float, steps: int, seed: int) -> Row:
    """Train from a start and score; what it cost."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        pivot, data = built("pivot"), Path(folder) / "train.jsonl"
        write_examples(data, list(pool(seed)))
        if start == "taught":
            pivot = Path(folder) / "taught"
            train(Run(by_name("path"), weight, 0.0, STEPS, seed)).save_pretrained(pivot)
            opened("pivot")[1].save_pretrained(pivot)
        rate = LEARNING_RATES[STEPS if start == "weak" else 2 * STEPS]
        began = time.process_time()
        with counted():
            fused = fuse(run_of(policy, pivot, data, weight, rate, steps, seed), lambda done, total: None)
        seconds = time.process_time() - began
    found = scores(fused.model, opened("pivot")[1], seed)
    return {**found, "train_seconds": seconds, "teacher_tokens": TeacherTokens.seen, "optimiser_steps": steps}


def rate_of(record: Record, policy: Policy, start: str) -> float:
    """Teacher tokens a step, as found on the pool that chooses weights."""
    own = where(record.rows, stage="tokens", method=policy.name, start=start)
    return fmean(row["teacher_tokens"] / row["optimiser_steps"] for row in own)


def steps_of(record: Record, policy: Policy, start: str) -> int:
    """Steps that take as many teacher tokens as `STEPS` steps of given answers."""
    return round(STEPS * rate_of(record, POLICIES[0], start) / rate_of(record, policy, start))


def jobs(record: Record, weight_of_path: Callable[[], float]) -> list[Job]:
    """The tokens of a step of each kind, then the runs at as many tokens."""

    def job(stage: str, policy: Policy, start: str, seed: int) -> Job:
        def work() -> Row:
            steps = STEPS if stage == "tokens" else steps_of(record, policy, start)
            return {"weight": weight_of_path(), **ran(policy, start, weight_of_path(), steps, seed)}

        fields = {"stage": stage, "method": policy.name, "start": start, "seed": seed, "steps": STEPS}
        return Job(f"{stage} {policy.name}, {start} seed {seed}", work, fields)

    each = [(policy, start) for start in STARTS for policy in POLICIES]
    found = [job("tokens", policy, start, SELECTION_SEED) for policy, start in each]
    return found + [job("policy", policy, start, seed) for seed in range(SEEDS) for policy, start in each]
