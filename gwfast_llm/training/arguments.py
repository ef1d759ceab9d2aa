"""Settings of the libraries from a configuration: the trainer, adapters, and the size of a chunk of logits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from gwfast_llm.config import FuseConfig, LoraConfig, TrainConfig
from gwfast_llm.models.after_layer import change_of
from gwfast_llm.models.output_layer import automatic_chunk
from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.objective import Objective


def pivot_memory(config: FuseConfig, sharded: bool) -> str:
    """What to do when memory runs out while the pivot is trained: only what the run does not do yet.

    Examples
    --------
    >>> from gwfast_llm.config import DataConfig, ModelConfig, ObjectiveConfig
    >>> plain = ObjectiveConfig(preset="sft")
    >>> small = TrainConfig(batch_size=1, bf16=True, gradient_checkpointing=True, chunk=1)
    >>> made = FuseConfig(ModelConfig("x"), DataConfig("y"), [], plain, small, LoraConfig(rank=8, four_bit=True))
    >>> pivot_memory(made, sharded=False)
    'out of memory while the pivot is trained; lower data.max_length, or use a smaller pivot'
    """
    train, lora = config.train, config.lora
    ways = {
        "lower train.batch_size and raise train.accumulate by as much": train.batch_size > 1,
        "use --train.gradient_checkpointing true": not train.gradient_checkpointing,
        "use --train.bf16 true": not train.bf16,
        "use a smaller train.chunk": train.chunk != 1,
        "train adapters (--lora.rank 16)": not lora.rank,
        "hold the pivot in 4 bits (--lora.four_bit true)": bool(lora.rank) and not lora.four_bit and not sharded,
        "shard the model over GPUs (examples/accelerate)": not sharded and not lora.four_bit,
    }
    left = [way for way, helps in ways.items() if helps] or ["lower data.max_length", "use a smaller pivot"]
    return f"out of memory while the pivot is trained; {', '.join(left[:-1])}{', or ' if left[1:] else ''}{left[-1]}"


def run_name(folder: Path) -> str:
    """Name of a run for loggers: that of the folder that holds the checkpoints, as it will be called in the end."""
    return folder.absolute().parent.name.removeprefix(".").removesuffix(".unfinished")


SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def training_arguments(train: TrainConfig, folder: Path, quiet: bool, bf16: bool) -> TrainingArguments:
    """The `transformers.TrainingArguments` of a `TrainConfig`; checkpoints go into `folder`."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=train.steps,
        run_name=run_name(folder),
        per_device_train_batch_size=train.batch_size,
        per_device_eval_batch_size=train.batch_size,
        gradient_accumulation_steps=train.accumulate,
        learning_rate=train.lr,
        warmup_steps=train.warmup_steps,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        lr_scheduler_type=SCHEDULES[train.schedule],
        logging_steps=train.log_every,
        seed=train.seed,
        data_seed=train.seed,
        eval_strategy="steps" if train.eval_every else "no",
        eval_steps=train.eval_every or None,
        save_strategy="steps" if train.save_every > 0 else "no",  # by time: see `gwfast_llm.training.saving`
        save_steps=max(train.save_every, 1),
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        report_to=list(train.report_to) or "none",
        disable_tqdm=quiet,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_nan_inf_filter=False,
    )


def computes_in_bfloat16(came: torch.dtype) -> bool:
    """Whether a pivot that came in this type computes in bfloat16 though its weights are held in float32."""
    return came == torch.bfloat16 and (not torch.cuda.is_available() or torch.cuda.is_bf16_supported())


def with_adapters(model: Any, lora: LoraConfig) -> Any:
    """Put low-rank adapters on a model; the model itself where the rank is 0.

    Raises
    ------
    FusionError
        When the target modules do not exist.
    """
    if not lora.rank:
        return model
    import peft

    targets = lora.targets if lora.targets == "all-linear" else [t.strip() for t in lora.targets.split(",")]
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*tie_word_embeddings", category=UserWarning)  # untied below
            adapted = peft.get_peft_model(model, config)
    except ValueError as problem:
        raise FusionError(f"lora.targets {lora.targets!r}: {str(problem).splitlines()[0]}") from None
    _untie_adapted(model)
    return adapted


def _untie_adapted(model: Any) -> None:
    """Give the output layer weights of its own where it or the embedding it is tied to has adapters.

    Merged into shared weights, the adapter of one layer would change the other, which training never saw.
    """
    head, first = model.get_output_embeddings(), model.get_input_embeddings()
    layers = [getattr(layer, "base_layer", layer) for layer in (head, first)]
    adapted = any(base is not layer for base, layer in zip(layers, (head, first)))
    if not adapted or layers[0].weight is not layers[1].weight:
        return
    own = layers[0].weight
    layers[0].weight = torch.nn.Parameter(own.detach().clone(), requires_grad=own.requires_grad)
    for settings in (model.config, model.config.get_text_config()):
        settings.tie_word_embeddings = False


def chunk_of(config: FuseConfig, model: Any, longest: int) -> int:
    """Positions at which logits exist at one time, chosen where ``train.chunk`` is -1.

    Parameters
    ----------
    config : FuseConfig
        The run.
    model : transformers.PreTrainedModel
        The pivot.
    longest : int
        Tokens of the longest example.
    """
    if config.train.chunk >= 0:
        return config.train.chunk
    chunk = automatic_chunk(config.train.batch_size * longest, model.get_output_embeddings().weight.shape[0])
    if not chunk or Objective.of(config.objective, 1).needs.whole:
        return 0
    try:
        change_of(model)
    except FusionError:
        return 0
    return chunk
