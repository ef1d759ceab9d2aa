"""Configuration: frozen dataclasses, checked when made, saved with every run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from gwfast_llm.system.errors import FusionError, one_line, redacted
from gwfast_llm.system.values import check_fields, expand_home, is_day

LARGEST_SEED = 2**32 - 1
CROSS_ENTROPY = "sft"
Preset = Literal["path", "infigfusion", "sft", "custom"]
Routing = Literal["mince", "all"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise FusionError(message)


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
    """

    model: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        where = "sources" if isinstance(self, SourceConfig) else "pivot"
        check_fields(self, where)
        _require(bool(self.model.strip()), f"{where}.model is empty; give a folder or a hub name")
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
        Folder of its cached logits; empty to run the model during training.
    """

    name: str = ""
    weight: float = 1.0
    cache: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        expand_home(self, "sources", "cache")
        _require(self.weight >= 0, f"sources: weight is {self.weight}; expected 0 or more")

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
        _require(self.max_length >= 2, f"data.max_length is {self.max_length}; expected at least 2")
        _require(not self.date or is_day(self.date), f"data.date is {self.date!r}; expected a day as 2026-01-31")


def _weight(default: float = 0.0) -> Any:
    """Field that holds the weight of a term of its name."""
    return field(default=default, metadata={"weight": True})


# Raw-logit graphs have gradients 10 to 20 times those of the cross-entropy: hence the small weight of GLD.
PRESETS: dict[str, dict[str, float]] = {
    "path": {"sft": 1.0, "path": 3.0},
    "infigfusion": {"sft": 1.0, "uld": 0.1, "gld": 0.01},
    "sft": {"sft": 1.0},
}


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the parts of the loss: sft CE + sum over parts of weight x part.

    Attributes
    ----------
    preset : {"path", "infigfusion", "sft", "custom"}
        `path` (recommended: CE + 3 path-KL, the one that helped most in our measurements), `infigfusion` (CE + ULD +
        GLD as published), `sft` (no distillation), `custom` (the weights below).  A preset fixes the weights; give
        `custom` to choose them.
    sft, kl, path, uld, gld, gld_aligned, hellinger, hybrid, gw_aligned : float
        Weights of the parts for `custom`: cross-entropy; KL between equal vocabularies; KL after carrying the source
        into the pivot's vocabulary, by counts on at most about a million answer tokens drawn with a fixed seed; sorted
        probabilities; sorted graph features; graphs compared in one vocabulary (useful around 1, harmful at 10);
        Hellinger distance after carrying (10 is as good as path-KL 3 in our small setting); KL on shared strings with
        sorted mass on the rest; experimental: KL after carrying the source by a GW coupling of the two vocabularies,
        which knows no spelling and is often wrong.
    terms : dict of str to float
        Weights for `custom` of terms of your own, which `gwfast_llm.register_term` has made known.
    top_k : int
        Most logits kept for ULD, GLD and hybrid.
    top_by, top_amount : str, float
        `fixed` keeps top_k everywhere; `mass` the fewest that reach the probability top_amount; `entropy`
        top_amount * exp(entropy) of them.
    source_top_k : int
        Logits kept of a source; 0 keeps all of them (small vocabularies only).
    gld_nodes, gld_weights, gld_feature, gld_distance : str
        See `gwfast_llm.gld_loss`.
    gld_scale : {"published", "source"}
        `source` divides GLD by the size of the source's features: no dependence on the scale of the logits.
    gld_window : int
        Positions of one graph of gld_aligned; 0 for whole answers.
    routing : {"mince", "all"}
        `mince`: every example learns from the source with the lower loss on its answer (on the text that all sources
        read, where data.max_length cuts).  `all`: from every source.
    """

    preset: Preset = "path"
    sft: float = _weight(1.0)
    kl: float = _weight()
    path: float = _weight()
    uld: float = _weight()
    gld: float = _weight()
    gld_aligned: float = _weight()
    hellinger: float = _weight()
    hybrid: float = _weight()
    gw_aligned: float = _weight()
    terms: dict[str, float] = field(default_factory=dict)
    top_k: int = 10
    top_by: Literal["fixed", "mass", "entropy"] = "fixed"
    top_amount: float = 1.0
    source_top_k: int = 64
    gld_nodes: Literal["rank", "vocab"] = "rank"
    gld_weights: Literal["logits", "softmax", "zscore"] = "logits"
    gld_feature: Literal["mean", "mean_std", "spectrum", "rows"] = "mean"
    gld_distance: Literal["l1", "squared"] = "l1"
    gld_scale: Literal["published", "source"] = "published"
    gld_window: int = 0
    routing: Routing = "mince"

    def __post_init__(self) -> None:
        check_fields(self, "objective")
        for name, value in {**{name: getattr(self, name) for name in WEIGHTS}, **self.terms}.items():
            _require(value >= 0, f"objective.{name} is {value}; expected 0 or more")
        for name in self.terms:
            _require(name not in WEIGHTS, f"objective.terms: {name} has a field of its own; give objective.{name}")
        _require(self.top_k >= 1, f"objective.top_k is {self.top_k}; expected at least 1")
        _require(self.source_top_k >= 0, f"objective.source_top_k is {self.source_top_k}; expected 0 or more")
        _require(self.gld_window >= 0, f"objective.gld_window is {self.gld_window}; expected 0 or more")
        _require(self.top_amount > 0, f"objective.top_amount is {self.top_amount}; expected a positive number")
        _require(
            self.top_by != "mass" or self.top_amount <= 1,
            f"objective.top_amount is {self.top_amount}; a probability mass is at most 1",
        )
        parts = self.weights
        _require(any(parts.values()), "objective: every weight is 0; give at least one part a positive weight")
        if self.preset != "custom":
            given = [n for n in DISTILS if getattr(self, n) not in (0.0, parts[n])]
            given += [name for name, weight in self.terms.items() if weight]
            _require(
                not given,
                f"objective.preset is {self.preset!r}, which fixes the weights, but {', '.join(given)} is given too; "
                "use --objective.preset custom to choose weights",
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of every term, the preset's where there is one."""
        if self.preset == "custom":
            return {**{name: getattr(self, name) for name in WEIGHTS}, **self.terms}
        return {name: PRESETS[self.preset].get(name, 0.0) for name in WEIGHTS}

    @property
    def distils(self) -> bool:
        """Whether there is more than the cross-entropy."""
        return any(weight for name, weight in self.weights.items() if name != CROSS_ENTROPY)


WEIGHTS = tuple(f.name for f in dataclasses.fields(ObjectiveConfig) if f.metadata.get("weight"))  # terms with a field
DISTILS = tuple(name for name in WEIGHTS if name != CROSS_ENTROPY)  # those that need sources


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    batch_size : int
        Examples a step and process, before accumulation.
    accumulate : int
        Batches whose gradients are added before a step.
    lr, warmup_steps, weight_decay, max_grad_norm : float
        AdamW with linear warm-up and linear decay to zero, gradients clipped.
    seed : int
        Seed of order and dropout.
    log_every : int
        Steps between logged losses.
    interval_every : int
        Steps between measurements of the certified GW interval on held-out examples; 0 switches it off.
    eval_every : int
        Steps between evaluations of the objective on held-out examples; 0 switches it off.
    save_every : int
        Steps between checkpoints from which --resume goes on.  -1 (the default) writes one after every ten minutes
        (ten times what writing takes, where that is longer) and after the last step of runs of more than a minute;
        0 writes none but the one of Ctrl-C, a plain kill or a closed terminal.  In files and flags a number that is
        not whole is rounded, with a note.
    diagnose : int
        Training examples on which every part's gradient is compared with the held-out cross-entropy's before the
        first step; 0 switches it off.  Needs data.validation.
    chunk : int
        Positions at which logits exist at one time, at the cost of one more product with the output layer.  -1 (the
        default) chooses: never more than one (B, L, V) tensor's worth, whole logits where a batch's take less than 64
        MiB or objective.gld_aligned needs them.  0 makes the whole tensor, several copies of which are then alive.
    packing : bool
        Put the examples of a batch into as few rows of data.max_length tokens as fit, none seeing another: the same
        losses without the cost of padding.
    bf16, gradient_checkpointing : bool
        Save memory and time on GPUs.  bf16 computes in bfloat16 (autocast); a pivot that comes in bfloat16 and is
        trained whole does so in any case where the GPU can.
    report_to : list of str
        Loggers beside our own records: tensorboard, wandb, trackio, ...
    """

    steps: int = 1000
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 1e-5
    warmup_steps: int = 20
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0
    log_every: int = 10
    interval_every: int = 0
    eval_every: int = 0
    save_every: int = -1
    diagnose: int = 32
    chunk: int = -1
    packing: bool = False
    bf16: bool = False
    gradient_checkpointing: bool = False
    report_to: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_fields(self, "train")
        _require(self.seed <= LARGEST_SEED, f"train.seed is {self.seed}; expected at most {LARGEST_SEED}")
        for name in ("steps", "batch_size", "accumulate", "log_every"):
            value = getattr(self, name)
            _require(value >= 1, f"train.{name} is {value}; expected at least 1")
        for name in ("warmup_steps", "weight_decay", "seed", "interval_every", "eval_every", "diagnose"):
            value = getattr(self, name)
            _require(value >= 0, f"train.{name} is {value}; expected 0 or more")
        _require(
            self.save_every >= -1,
            f"train.save_every is {self.save_every}; expected 1 or more, 0 for none, -1 to save by time",
        )
        _require(self.chunk >= -1, f"train.chunk is {self.chunk}; expected 1 or more, 0 for whole logits, -1 to choose")
        _require(self.lr > 0, f"train.lr is {self.lr}; expected a positive number")


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
    four_bit : bool
        Hold the pivot's own weights in 4 bits while the adapters train (QLoRA; needs bitsandbytes).  The adapters are
        merged into the weights as they were before, in pivot.dtype.
    """

    rank: int = 0
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str = "all-linear"
    four_bit: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "lora")
        _require(self.alpha > 0, f"lora.alpha is {self.alpha}; expected a positive number")
        _require(bool(self.targets.strip()), "lora.targets is empty; give all-linear, or names separated by commas")
        _require(self.rank >= 0, f"lora.rank is {self.rank}; expected 0 or more")
        _require(0 <= self.dropout < 1, f"lora.dropout is {self.dropout}; expected at least 0 and less than 1")
        _require(
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
            _require(isinstance(getattr(self, name), record), f"{name} is no {record.__name__}")
        for place, source in enumerate(self.sources):
            _require(isinstance(source, SourceConfig), f"sources[{place}] is no SourceConfig")
        for name in ("eval_every", "interval_every"):
            value = getattr(self.train, name)
            _require(
                not value or bool(self.data.validation),
                f"train.{name} is {value}, but there are no held-out examples; give data.validation or "
                f"--train.{name} 0",
            )
        labels = [source.label for source in self.sources]
        _require(
            len(set(labels)) == len(labels),
            f"sources: names {', '.join(labels)} are not distinct; give each source its own name",
        )
        _require(
            bool(self.sources) or not any(w for n, w in self.objective.weights.items() if n in DISTILS),
            f"objective.preset is {self.objective.preset!r}, which distils, but there are no sources; "
            "give sources or use --objective.preset sft",
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionary, for saving; credentials in URLs are struck out."""
        return redacted(dataclasses.asdict(self))
