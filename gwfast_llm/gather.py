"""From the model as it was trained (sharded, in 4 bits, with adapters) to the one that is saved."""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from gwfast_llm.arguments import with_adapters
from gwfast_llm.config import FuseConfig
from gwfast_llm.loading import load_model, load_to_train
from gwfast_llm.trainer import FusionTrainer


def whole_model(trainer: FusionTrainer, config: FuseConfig) -> Any:
    """Gather the trained model and merge its adapters.

    Parameters
    ----------
    trainer : FusionTrainer
        After training.
    config : FuseConfig
        The run.

    Returns
    -------
    transformers.PreTrainedModel
        Where training had sharded it, whole only in the first process, which saves it.
    """
    trained: Any = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if not trainer.is_world_process_zero():
            return trained  # only the first process saves
        unset_hf_deepspeed_config()  # else the fresh model would be sharded too, while it is loaded
        trained = with_adapters(load_to_train(config.pivot, bool(config.lora.rank))[0], config.lora)
        trained.load_state_dict(weights)
    if config.lora.four_bit:
        import peft

        # merged into the weights before rounding: 4 bits would otherwise stay in the result
        adapters = peft.get_peft_model_state_dict(trained)
        trained = with_adapters(load_model(config.pivot), config.lora)
        peft.set_peft_model_state_dict(trained, adapters)
    if config.lora.rank:
        return trained.merge_and_unload()
    return trained if config.pivot.dtype == "auto" else trained.to(getattr(torch, config.pivot.dtype))
