"""Checks before a run starts: devices, room on the disk, and whether a resumed run has the same inputs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from gwfast_llm.config import FuseConfig
from gwfast_llm.system.disk import require_room, spell_bytes
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import read_object, write_object
from gwfast_llm.teachers.fingerprint import examples_fingerprint, tokenizer_fingerprint
from gwfast_llm.training.prepare import PreparedRun
from gwfast_llm.training.saving import KEPT
from gwfast_llm.training.sources import source_fingerprint

INPUTS = "inputs.json"
BESIDE = 2**25  # bytes of tokenizer, records, pictures and page, at most


def one_device(arguments: TrainingArguments) -> str:
    """Keep a process without launcher to its first GPU; says so, empty where there is nothing to say.

    Several GPUs in one process would each get a copy of the model, but share what the output layer is told to compute.
    """
    if arguments.n_gpu <= 1:
        return ""
    seen, arguments._n_gpu = arguments.n_gpu, 1
    return f"1 of {seen} GPUs is used; accelerate launch -m gwfast_llm.fuse uses them all"


def bytes_of(model: Any) -> tuple[int, int]:
    """Bytes of a model as it is saved, with what is saved beside it, and of its trained weights, in float32."""
    saved = getattr(model.config, "dtype", None) or torch.float32

    def count(weight: Any) -> int:
        return getattr(weight, "ds_numel", weight.numel())  # DeepSpeed leaves no numbers in the weight itself

    # two weights in 4 bits share a byte, and are saved in the type in which they came
    whole = sum(
        count(p) * (2 * saved.itemsize if p.dtype == torch.uint8 else p.element_size()) for p in model.parameters()
    )
    return whole + BESIDE, sum(4 * count(p) for p in model.parameters() if p.requires_grad)


def check_room(folder: Path, weights: int, trained: int, config: FuseConfig) -> str:
    """Room that a run needs on the disk, in words.

    Parameters
    ----------
    folder : Path
        Where the checkpoints are; made where it does not exist.  Those of a run that goes on make room for later ones.
    weights, trained : int
        Bytes of the model as it is saved, and of the weights that are trained.
    config : FuseConfig
        The run.

    Raises
    ------
    FusionError
        When there is less.

    Notes
    -----
    A checkpoint holds the trained weights and their two moments; two are kept while a third is written.
    """
    saves = bool(config.train.save_every)
    needed = weights + (3 * (KEPT + 1) * trained if saves else 0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise FusionError(f"cannot write to {folder} ({problem.strerror}); give another --runs") from None
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())  # of a run that goes on
    fits = saves and weights <= shutil.disk_usage(folder).free + there
    fix = f", or use --train.save_every 0, which needs {spell_bytes(weights)}" if fits else ""
    require_room(folder, needed, there, f"the model{' and its checkpoints' * saves}", fix)
    return spell_bytes(needed)


def inputs_of(config: FuseConfig, run: PreparedRun, sources: Sequence[Any]) -> dict[str, str]:
    """Fingerprints of the models, tokenizers and examples of a run, once the models are on the disk."""
    found = {
        "data.train": examples_fingerprint(run.examples[: run.size]),
        "data.validation": examples_fingerprint(run.examples[run.size :]),
    }
    labels = ["the pivot", *(f"source {source.label}" for source in sources)]
    for label, model, tokenizer in zip(labels, [config.pivot, *sources], run.tokenizers):
        found[f"the model of {label}"] = source_fingerprint(model)
        found[f"the tokenizer of {label}"] = tokenizer_fingerprint(tokenizer)
    return found


def same_inputs(folder: Path, inputs: dict[str, str], resume: bool, writes: bool) -> None:
    """Keep the fingerprints of a run beside its checkpoints; when resuming, compare.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoints.
    inputs : dict
        From `inputs_of`.
    resume : bool
        Whether the run goes on from a checkpoint.
    writes : bool
        Whether this process writes.

    Raises
    ------
    FusionError
        When something is not what the run was started with, naming what.
    """
    record = folder / INPUTS
    if resume:
        before = read_object(record, "whether the inputs are the same cannot be told: start anew with --overwrite")
        changed = [name for name, value in inputs.items() if before.get(name) != value]
        if changed:
            raise FusionError(
                f"{' and '.join(changed)} changed since this run was started; put back what was there, or start anew "
                "with --overwrite or another --name"
            )
    elif writes:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_object(record, inputs)
        except OSError as problem:
            raise FusionError(
                f"cannot write to {folder} ({problem.strerror}); make room, or give another --runs"
            ) from None
