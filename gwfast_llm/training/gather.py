"""From the model as it was trained (sharded, in 4 bits, with adapters) to the one that is saved."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file, save_model
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from gwfast_llm.config import FuseConfig
from gwfast_llm.models.loading import load_model, load_to_train
from gwfast_llm.system.records import whole_folder
from gwfast_llm.system.trouble import is_out_of_disk
from gwfast_llm.training.arguments import with_adapters
from gwfast_llm.training.trainer import FusionTrainer

ADAPTER = "adapter"


@dataclass(frozen=True)
class Adapter:
    """Adapters as peft writes them.

    Attributes
    ----------
    config : peft.LoraConfig
        Rank, scale, targets, and the name of the pivot.
    weights : dict of str to Tensor
        Their weights, on the host.
    """

    config: Any
    weights: dict[str, torch.Tensor]

    def write(self, folder: Path) -> None:
        """Write them into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(folder)
        save_file(self.weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def adapter_of(trained: Any) -> Adapter:
    """The adapters of a model, before they are merged."""
    import peft

    weights = peft.get_peft_model_state_dict(trained)
    config = dataclasses.replace(trained.peft_config["default"], inference_mode=True)
    return Adapter(config, {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()})


def whole_model(trainer: FusionTrainer, config: FuseConfig) -> Any:
    """Gather the trained model and merge its adapters; where they are to be kept, they are its ``kept_adapter``.

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
        unset_hf_deepspeed_config()  # else the next model would be sharded too, while it is loaded
        if not trainer.is_world_process_zero():
            return trained  # only the first process saves
        trained = with_adapters(load_to_train(config.pivot, bool(config.lora.rank))[0], config.lora)
        trained.load_state_dict(weights)
    if config.lora.four_bit:
        import peft

        # merged into the weights before rounding: 4 bits would otherwise stay in the result
        adapters = peft.get_peft_model_state_dict(trained)
        trained = with_adapters(load_model(config.pivot), config.lora)
        peft.set_peft_model_state_dict(trained, adapters)
    if config.lora.rank:
        kept = None if config.lora.export == "merged" else adapter_of(trained)
        merged = trained.merge_and_unload()
        merged.kept_adapter = kept
        return merged
    return trained if config.pivot.dtype == "auto" else trained.to(getattr(torch, config.pivot.dtype))


def write_model(model: Any, tokenizer: Any, target: Path, export: str = "merged") -> list[str]:
    """Write a model and its tokenizer into a folder that is there whole or not at all.

    Parameters
    ----------
    model, tokenizer : transformers objects
        What to write.
    target : Path
        The folder; must not exist.
    export : {"merged", "adapter", "both"}
        See `gwfast_llm.config.LoraConfig`.

    Returns
    -------
    list of str
        What is not in it as it should be, and what to do: the weights are kept whatever else cannot be written.
    """
    complaints = []
    adapter = getattr(model, "kept_adapter", None)
    with whole_folder(target) as folder:
        if adapter is not None:
            adapter.write(folder / ADAPTER if export == "both" else folder)
        try:
            if adapter is None or export == "both":
                model.save_pretrained(folder)
        except Exception as problem:
            if isinstance(problem, OSError) or is_out_of_disk(problem):
                raise
            model.config.save_pretrained(folder)
            save_model(model, str(folder / "model.safetensors"))
            complaints.append(
                f"the model's own way to save failed ({_first_line(problem)}): {target} holds weights and config.json "
                "alone; copy what else is needed (generation_config.json) from the pivot"
            )
        try:
            tokenizer.save_pretrained(folder)
        except Exception as problem:
            if is_out_of_disk(problem):
                raise
            complaints.append(
                f"the tokenizer could not be saved ({_first_line(problem)}); copy the pivot's tokenizer files to "
                f"{target}"
            )
    return complaints


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
