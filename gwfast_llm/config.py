"""Configuration: frozen dataclasses, checked when made, saved with every run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from gwfast_llm.objective_config import CROSS_ENTROPY, DISTILS, PRESETS, WEIGHTS, ObjectiveConfig
from gwfast_llm.system.errors import one_line, redacted, require
from gwfast_llm.system.values import check_fields, expand_home, is_day
from gwfast_llm.train_config import TrainConfig

__all__ = [
    "CROSS_ENTROPY",
    "DISTILS",
    "PRESETS",
    "WEIGHTS",
    "DataConfig",
    "FuseConfig",
    "LoraConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "SourceConfig",
    "TrainConfig",
]


@dataclass(frozen=True)
class ModelConfig:
    """A model on disk or on the Hugging Face hub.

    Attributes
    ----------
    model : str
        Path or hub name.
    dtype : str
        Type of the weights: auto, float32, bfloat16 or float16.  A pivot whose own weights are trained (lora.rank 0)
        is held in float32 while it is; bfloat16 and float16 then say in what type the result is saved.
    trust_remote_code : bool
        Run code that comes with the model; off unless asked.
    chat_template : str
        Name of one of the model's chat templates, or a file with one; the model's own by default.
    chat_template_kwargs : dict
        Variables of the chat template and their values, for instance enable_thinking: false.  They become defaults in
        the template, hence part of caches and of the exported model.
    """

    model: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False
    chat_template: str = ""
    chat_template_kwargs: dict[str, bool | int | float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = "sources" if isinstance(self, SourceConfig) else "pivot"
        check_fields(self, where)
        require(bool(self.model.strip()), f"{where}.model is empty; give a folder or a hub name")
        expand_home(self, where, "model")

    @property
    def shown(self) -> str:
        """The model for messages and reports, without credentials."""
        return one_line(self.model)


@dataclass(frozen=True)
class SourceConfig(ModelConfig):
    """A source model and its weight in the objective.

    Attributes
    ----------
    name : str
        Short name; the last part of the path by default.
    weight : float
        Weight of its part of the distillation loss.
    cache : str
        Folder of its cached logits; empty to run the model during training.  Once it is whole, the model itself is no
        longer needed: fill it here, train there.
    served : str
        Address of an OpenAI-compatible server that gives log-probabilities of prompts (http://host:8000/v1), or a file
        or folder of what vLLM gave as prompt_logprobs (.jsonl, .parquet).  `model` then only names the tokenizer, and
        `cache` is filled from there.  OPENAI_API_KEY of the environment is sent where it is set.
    served_name : str
        Name of the model on the server; `model` by default.
    """

    name: str = ""
    weight: float = 1.0
    cache: str = ""
    served: str = ""
    served_name: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        expand_home(self, "sources", "cache", *([] if "://" in self.served else ["served"]))
        require(
            not self.served or bool(self.cache),
            f"sources: {self.served!r} is served, which needs a folder for what it says; give cache",
        )
        require(self.weight >= 0, f"sources: weight is {self.weight}; expected 0 or more")

    @property
    def label(self) -> str:
        """Name for messages and reports."""
        return one_line(self.name) or self.shown.rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class DataConfig:
    """Training and validation examples.

    Attributes
    ----------
    train : str
        A .jsonl or .parquet file, or the name of a Hugging Face data set (split `train`).
    validation : str
        The same for held-out examples; none by default.
    prompt, response : str
        Columns of a prompt-response data set.
    messages : str
        Column of conversations (lists of role and content, the last by the assistant); replaces prompt and response.
        Names, tool calls and a column `tools` are given to the chat template, which says what it does not write.
    chat : bool
        Put prompts into each model's own chat template; conversations always are.
    max_length : int
        Tokens of prompt and answer together; longer answers are cut, and counted.
    end_token : bool
        Close every answer with the token that the chat template writes after one, else with the tokenizer's
        end-of-sequence token.
    drop_bad : bool
        Leave out rows that cannot be used (unreadable, empty answer, refused by a chat template, prompt too long),
        counted by reason, instead of stopping.
    date : str
        Date that chat templates print, as 2026-01-31.  By default that of the caches or of the run that goes on, else
        today's.
    """

    train: str
    validation: str = ""
    prompt: str = "prompt"
    response: str = "response"
    messages: str = ""
    chat: bool = False
    max_length: int = 2048
    end_token: bool = True
    drop_bad: bool = False
    date: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "data")
        expand_home(self, "data", "train", "validation")
        require(self.max_length >= 2, f"data.max_length is {self.max_length}; expected at least 2")
        require(not self.date or is_day(self.date), f"data.date is {self.date!r}; expected a day as 2026-01-31")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters through peft; the result is merged into plain weights.

    Attributes
    ----------
    rank : int
        Rank of the adapters; 0 trains all weights.
    alpha, dropout : float
        Scale and dropout of the adapters.
    targets : str
        Modules that get one: `all-linear`, or names separated by commas.  An output layer that is tied to the embedding
        gets weights of its own where one of the two is adapted.
    export : {"merged", "adapter", "both"}
        What the run's model folder holds: the pivot with the adapters merged into its weights; the adapters alone, for
        peft; or the former with the latter in its folder `adapter`.
    four_bit : bool
        Hold the pivot's own weights in 4 bits while the adapters train (QLoRA; needs bitsandbytes).  The adapters are
        merged into the weights as they were before, in pivot.dtype.
    """

    rank: int = 0
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str = "all-linear"
    export: Literal["merged", "adapter", "both"] = "merged"
    four_bit: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "lora")
        require(self.alpha > 0, f"lora.alpha is {self.alpha}; expected a positive number")
        require(bool(self.targets.strip()), "lora.targets is empty; give all-linear, or names separated by commas")
        require(self.rank >= 0, f"lora.rank is {self.rank}; expected 0 or more")
        require(0 <= self.dropout < 1, f"lora.dropout is {self.dropout}; expected at least 0 and less than 1")
        require(
            self.rank > 0 or self.export == "merged",
            f"lora.export is {self.export!r}, but all weights are trained; give lora.rank, or export merged",
        )
        require(
            self.rank > 0 or not self.four_bit,
            "lora.four_bit needs adapters, since weights in 4 bits cannot be trained; give lora.rank, for instance 16",
        )


@dataclass(frozen=True)
class FuseConfig:
    """One fusion: the pivot, its sources, the data, the objective and the optimisation."""

    pivot: ModelConfig
    data: DataConfig
    sources: list[SourceConfig] = field(default_factory=list)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        for name, record in (("pivot", ModelConfig), ("data", DataConfig), ("objective", ObjectiveConfig)):
            require(isinstance(getattr(self, name), record), f"{name} is no {record.__name__}")
        for place, source in enumerate(self.sources):
            require(isinstance(source, SourceConfig), f"sources[{place}] is no SourceConfig")
        for name in ("eval_every", "interval_every"):
            value = getattr(self.train, name)
            require(
                value <= 0 or bool(self.data.validation),
                f"train.{name} is {value}, but there are no held-out examples; give data.validation or "
                f"--train.{name} 0",
            )
        require(
            self.objective.combine == "together" or (len(self.sources) > 1 and self.objective.distils),
            "objective.combine is 'merge', which makes one run for each source and merges them; give at least two "
            "sources and an objective that distils, or use --objective.combine together",
        )
        require(
            self.objective.combine == "together" or self.lora.export != "adapter",
            "objective.combine is 'merge', which merges whole models; use lora.export merged or both",
        )
        labels = [source.label for source in self.sources]
        require(
            len(set(labels)) == len(labels),
            f"sources: names {', '.join(labels)} are not distinct; give each source its own name",
        )
        require(
            bool(self.sources) or not any(w for n, w in self.objective.weights.items() if n in DISTILS),
            f"objective.preset is {self.objective.preset!r}, which distils, but there are no sources; "
            "give sources or use --objective.preset sft",
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionary, for saving; credentials in URLs are struck out."""
        return redacted(dataclasses.asdict(self))
