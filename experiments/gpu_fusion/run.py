"""Measure what the fusion objectives cost on random weights at real shapes; writes records and checks them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from experiments.gpu_fusion.about import surroundings
from experiments.gpu_fusion.checks import lines
from experiments.gpu_fusion.data import data_of
from experiments.gpu_fusion.losses import gold_uld, losses_alone, measure, throughput
from gwfast_llm.config import LoraConfig, ObjectiveConfig
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.student.forward import run_student
from gwfast_llm.teachers.online import OnlineSource
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import Encoded
from gwfast_llm.training.arguments import with_adapters

RECORDS = Path(__file__).parent / "records"


@dataclass(frozen=True)
class Shape:
    """Sizes of a measurement; `half`: bfloat16 and gradient checkpointing; `whole`: everything is measured."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    length: int
    prompt: int
    repeats: int
    chunk: int
    half: bool
    whole: bool


FULL = Shape(3584, 18944, 28, 28, 4, 152064, 4096, 512, 5, 441, half=True, whole=True)
SHAPES = {
    "gpu": FULL,
    "one-layer": dataclasses.replace(FULL, layers=1, repeats=1, whole=False),
    "two-layers": dataclasses.replace(FULL, layers=2, repeats=1, whole=False),
    "small": Shape(128, 256, 2, 4, 2, 8000, 256, 32, 3, 64, half=False, whole=True),
}
OBJECTIVES = {
    "sft": ObjectiveConfig(preset="sft"),
    "sft + uld": ObjectiveConfig(preset="custom", uld=0.1),
    "sft + gld": ObjectiveConfig(preset="custom", gld=0.01, gld_raw=True),
    "infigfusion": ObjectiveConfig(preset="infigfusion", gld_raw=True),
    "path": ObjectiveConfig(preset="path"),
}
KEEP = 64


def model_of(shape: Shape, device: str, seed: int) -> Any:
    """Qwen2 of this shape with random weights."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.length,
        tie_word_embeddings=False,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if shape.half else torch.float32)
    try:
        with torch.device(device):
            return Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def steps(shape: Shape, device: str, record: Callable[..., None]) -> None:
    """Cost of a training step with every objective: store read, batch collated, forward, backward, optimiser."""
    model = with_adapters(model_of(shape, device, 0), LoraConfig(rank=16))
    if shape.half:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
        model.enable_input_require_grads()
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-5)
    head = ChunkedHead(model, shape.chunk)

    def forward(batch: Batch) -> Any:
        return model(**batch.model_inputs, use_cache=False).logits

    def descend(loss: torch.Tensor) -> None:
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    def step(objective: ObjectiveConfig, chunked: bool, batch: Batch) -> None:
        terms = Objective.of(objective, 1)
        student, _ = run_student(model, batch, terms, head if chunked else None)
        totals = torch.stack([p.total.float() for p in terms.values(student, batch)])
        weights = torch.tensor(terms.weights, device=totals.device)
        descend((weights * totals / terms.counts(batch)).sum())

    with tempfile.TemporaryDirectory() as folder:
        number = shape.repeats + 1
        data = data_of(shape.vocabulary, shape.length, shape.prompt, number, KEEP, Path(folder) / "store")

        def run(objective: ObjectiveConfig, chunked: bool, source: OnlineSource | None = None) -> dict[str, float]:
            collator, seen = data.collator(objective, KEEP), iter(range(number))

            def work() -> None:
                if source is not None:
                    source.signals([0])
                batch = collator([next(seen)])  # every example for the first time
                step(objective, chunked, batch.to(device))

            more = 0 if source is None else bytes_of(source.model.parameters())
            return throughput(work, shape.repeats, device, held + more)

        # the optimiser's moments come with the first step
        warm = data.collator(OBJECTIVES["sft"], KEEP)([0])
        step(OBJECTIVES["sft"], True, warm.to(device))
        held = bytes_of([*model.parameters(), *(x for state in optimiser.state.values() for x in state.values())])
        ways = (False, True) if shape.whole else (True,)
        chosen = OBJECTIVES if shape.whole else {name: OBJECTIVES[name] for name in ("sft", "infigfusion", "path")}
        for name, objective in chosen.items():
            for chunked in ways:
                record("step", name, chunked=chunked, source="cached", **run(objective, chunked))
        source, rows = source_of(shape, device)  # only now: it is not there where sources are cached
        bare(source, rows, shape, device, record)
        if not shape.whole:
            return
        for chunked in ways:
            record("step", "path", chunked=chunked, source="online", **run(OBJECTIVES["path"], chunked, source))
        plain = data.collator(OBJECTIVES["sft"], KEEP)
        batch = plain([0]).to(device)
    gold_step(source, batch, forward, descend, shape, device, held + bytes_of(source.model.parameters()), record)


def bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of these tensors."""
    return sum(x.numel() * x.element_size() for x in tensors)


def gold_step(
    source: OnlineSource,
    batch: Batch,
    forward: Callable[[Batch], torch.Tensor],
    descend: Callable[[torch.Tensor], None],
    shape: Shape,
    device: str,
    held: int,
    record: Callable[..., None],
) -> None:
    """Cost of a step with TRL GOLD's ULD, which needs the teacher's whole logits, where TRL is installed."""

    def work() -> None:
        with torch.no_grad():
            teacher = source.model(input_ids=batch.input_ids, use_cache=False).logits
        loss = gold_uld(forward(batch), teacher, batch.labels)
        assert loss is not None
        descend(loss())

    values: dict[str, Any] = {"chunked": False, "source": "online"}
    if gold_uld(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)) is None:
        record("step", "TRL GOLD's uld", missing="TRL is not installed", **values)
        return
    try:
        record("step", "TRL GOLD's uld", **values, **throughput(work, shape.repeats, device, held))
    except torch.OutOfMemoryError:
        record("step", "TRL GOLD's uld", missing="out of memory", **values)


class Ids:
    """Stands for a tokenizer of this many tokens."""

    pad_token_id = 0

    def __init__(self, size: int):
        self._size = size

    def get_vocab(self) -> dict[str, int]:
        return {"last": self._size - 1}


def source_of(shape: Shape, device: str) -> tuple[OnlineSource, list[Encoded]]:
    """A source of the same shape as the pivot, with random weights."""
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(0, shape.vocabulary, (shape.length,), generator=draw).tolist()
    rows = [Encoded(ids, shape.prompt, list(range(1, shape.length - shape.prompt + 1)))]
    return OnlineSource("random", model_of(shape, device, 1), Ids(shape.vocabulary), rows, 10), rows


def bare(source: OnlineSource, rows: list[Encoded], shape: Shape, device: str, record: Callable[..., None]) -> None:
    """Cost of a source's answers against its forward pass alone."""
    ids = torch.tensor([rows[0].ids], device=device)

    def forward() -> None:
        with torch.no_grad():
            hidden = source.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, shape.prompt - 1 : -1]
            for start in range(0, len(hidden), 2048):
                source.model.get_output_embeddings()(hidden[start : start + 2048])

    record("caching", "forward alone", **measure(forward, shape.repeats, device))
    record("caching", "forward and top 10", **measure(lambda: source.signals([0]), shape.repeats, device))


def main() -> None:
    """Measure and write one file of records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", choices=("all", "loss", "step"), default="all", help="what is measured")
    parser.add_argument("--size", choices=sorted(SHAPES), default="")
    parser.add_argument("--out", type=Path, default=RECORDS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here; use --device cpu --size small")
    size = options.size or ("gpu" if options.device == "cuda" else "small")
    where = {"size": size, **dataclasses.asdict(SHAPES[size])}
    about = {**surroundings(options.device), **(where if options.only != "loss" else {})}
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"loss-{options.device}" if options.only == "loss" else f"{size}-{options.device}"
    path = options.out / f"{name}.jsonl"
    rows: list[dict[str, Any]] = []

    def record(kind: str, name: str, **values: Any) -> None:
        rows.append({"kind": kind, "name": name, **about, **values})
        print(kind, name, {k: v for k, v in values.items() if v == v})

    if options.only != "step":
        losses_alone(record)
    if options.only != "loss":
        steps(SHAPES[size], options.device, record)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    partial.replace(path)
    print("\n".join(lines(rows)))


if __name__ == "__main__":
    main()
