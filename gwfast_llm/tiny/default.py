"""The embedded default: build two experts and a pivot, fuse them under several objectives, compare on new problems."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.data import Example
from gwfast_llm.files import read_examples, write_examples
from gwfast_llm.progress import Board, Stage
from gwfast_llm.report import Contender, Score
from gwfast_llm.tiny import recipes
from gwfast_llm.tiny.tasks import ALL_TASKS, EXACT_TASKS, Problem, draw_each
from gwfast_llm.workers import Job, Workers

SOURCES = ("A", "B")
FUSED_TASKS = "MNABDSL"
FUSED_TEXTS = "MN"  # dialects of the sources; O is the pivot's own and shows what it forgets
TEST_SEED = 999
VALIDATION_SEED = 300
POOL_SEED = 1000


@dataclass(frozen=True)
class Size:
    """How large the embedded default is.

    Attributes
    ----------
    scale : float
        Share of the full training of sources and pivot.
    examples : int
        Fusion examples a task.
    steps : int
        Steps of every objective but the short SFT.
    tests : int
        Held-out problems a task.
    seeds : int
        Repetitions with other examples and another order.
    interval_every : int
        Steps between measurements of the GW interval.
    """

    scale: float
    examples: int
    steps: int
    tests: int
    seeds: int
    interval_every: int


SIZES = {
    "default": Size(scale=1.0, examples=50, steps=400, tests=200, seeds=3, interval_every=25),
    "smoke": Size(scale=0.03, examples=4, steps=12, tests=6, seeds=1, interval_every=6),
}

OBJECTIVES = {
    "sft_short": "SFT, a quarter of the steps at half the learning rate: the strongest plain SFT on text",
    "sft": "SFT on the examples alone",
    "infigfusion": "SFT + ULD + GLD as published (rank nodes, raw logits, row means)",
    "path": "SFT + 3 path-KL: source probabilities carried into the pivot's vocabulary along the text",
}


def objective_config(name: str, size: Size, seed: int) -> tuple[ObjectiveConfig, TrainConfig]:
    """Objective and optimisation of one contender."""
    train = TrainConfig(
        steps=size.steps,
        lr=1e-3,
        batch_size=16,
        warmup_steps=min(20, size.steps),
        seed=seed,
        log_every=max(1, size.steps // 40),
        save_every=size.steps // 2,
        # diagnostics of the first seed are enough to show, and take as long as a third of the training
        interval_every=size.interval_every if seed == 0 else 0,
        diagnose=98 if seed == 0 else 0,
    )
    if name == "sft_short":
        steps = max(1, size.steps // 4)
        train = dataclasses.replace(
            train,
            steps=steps,
            lr=5e-4,
            warmup_steps=min(20, steps),
            log_every=max(1, steps // 20),
            save_every=max(1, steps // 2),
        )
        return ObjectiveConfig(preset="sft", source_top_k=0), train
    preset = {"sft": "sft", "infigfusion": "infigfusion", "path": "path"}[name]
    return ObjectiveConfig(preset=preset, source_top_k=0), train  # type: ignore[arg-type]


def _examples(problems: Sequence[Problem]) -> list[Example]:
    return [Example(p.prompt, p.response, p.task, p.log_prob) for p in problems]


def build_job(recipe: recipes.ModelRecipe, progress) -> str:
    """Worker job: build one model or find it in the cache."""
    from gwfast_llm.tiny.build import build_model

    return str(build_model(recipe, progress))


def cache_job(config: FuseConfig, number: int, progress) -> int:
    """Worker job: run one source of a fusion once; keep what it says and its targets, exactly, in its cache folder."""
    from gwfast_llm.setup import prepare_run, store_source, store_targets

    run = prepare_run(config, config.sources)
    return store_source(config, number, run, "float32", progress) + store_targets(config, number, run, progress)


def fusion_job(config: FuseConfig, tests: str, keep: str, progress) -> tuple[list[dict[str, Any]], list[Score], float]:
    """Worker job: run one fusion and score it; the model is saved under `keep` where that is given."""
    from gwfast_llm.evaluate import evaluate
    from gwfast_llm.train import fuse

    fused = fuse(config, progress)
    scores = [Score(s.task, s.kind, s.value) for s in evaluate(fused.model, fused.tokenizer, read_examples(tests))]
    if keep:
        fused.model.save_pretrained(keep)
        fused.tokenizer.save_pretrained(keep)
    return fused.metrics, scores, fused.seconds


def score_job(model: str, tests: str, progress) -> list[Score]:
    """Worker job: score a model as it is."""
    from gwfast_llm.evaluate import evaluate
    from gwfast_llm.loading import load_model, load_tokenizer

    config = ModelConfig(model)
    found = evaluate(load_model(config), load_tokenizer(config), read_examples(tests))
    return [Score(s.task, s.kind, s.value) for s in found]


@dataclass(frozen=True)
class DefaultRun:
    """Everything the embedded default found.

    Attributes
    ----------
    contenders : list of Contender
        Pivot before, sources, and every objective, with scores of every seed.
    metrics : list of dict
        Losses and intervals, with objective, seed and step.
    config : dict
        All configurations, for saving.
    models : dict
        Folder of the first seed's model of every objective.
    """

    contenders: list[Contender]
    metrics: list[dict[str, Any]]
    config: dict[str, Any]
    models: dict[str, Path]


def run_default(size_name: str, scratch: Path, seeds: int | None = None) -> DefaultRun:
    """Run the embedded default.

    Parameters
    ----------
    size_name : {"default", "smoke"}
        See `SIZES`.
    scratch : Path
        Folder for data and models; the caller's to keep or remove.
    seeds : int, optional
        Number of repetitions, the size's own by default.

    Returns
    -------
    DefaultRun
    """
    size = SIZES[size_name]
    repeats = range(size.seeds if seeds is None else seeds)
    lanes = max(1, min(2, os.cpu_count() or 1))
    first, second = recipes.sources(size.scale)
    pivot = recipes.pivot(size.scale)
    build = Stage(
        "building the models",
        [Job(_title(r), build_job, (r,), 2 + 0.065 * r.steps) for r in (first, second, pivot)],
    )
    data = scratch / "data"
    data.mkdir()
    tests, pools = _write_data(data, size, repeats)
    names = [(seed, name) for seed in repeats for name in ("path", "infigfusion", "sft", "sft_short")]

    def seconds(name: str, seed: int) -> float:
        train = objective_config(name, size, seed)[1]
        return 4 + train.steps * (0.035 if name.startswith("sft") else 0.045) + 2 * size.tests / 200 + extra(seed)

    def extra(seed: int) -> float:
        return 8.0 if seed == 0 and size.steps > 50 else 1.0

    # Expected times only, to say from the start how long the whole takes; the jobs themselves need the built models.
    caching = Stage("caching the sources", [Job(_stored(s, n), cache_job, (), 3.0) for s in repeats for n in SOURCES])
    fusing = Stage("fusing", [Job(f"{n}, seed {s}", fusion_job, (), seconds(n, s)) for s, n in names])
    scoring = Stage("scoring the models before fusion", [Job(n, score_job, (), 3.0) for n in ("pivot", "A", "B")])
    board = Board([build, scoring, caching, fusing], lanes)
    with Workers(lanes) as workers:
        board.start(build)
        built = workers.run(build.jobs, board.progress, board.tick)
        folders = {r.name: built[_title(r)] for r in (first, second, pivot)}
        scoring.jobs = [Job(name, score_job, (folders[name], str(tests)), 3.0) for name in ("pivot", "A", "B")]
        board.start(scoring)
        before = workers.run(scoring.jobs, board.progress, board.tick)
        configs = {}
        for seed, name in names:
            objective, train = objective_config(name, size, seed)
            configs[seed, name] = FuseConfig(
                pivot=ModelConfig(folders["pivot"]),
                sources=[
                    SourceConfig(folders[n], name=n, cache=str(scratch / "cache" / f"{n}-{seed}")) for n in SOURCES
                ],
                data=DataConfig(str(pools[seed]), str(data / "validation.jsonl"), max_length=96, end_token=False),
                objective=objective,
                train=train,
            )
        caching.jobs = [
            Job(_stored(seed, name), cache_job, (configs[seed, "path"], number), 3.0)
            for seed in repeats
            for number, name in enumerate(SOURCES)
        ]
        board.start(caching)
        workers.run(caching.jobs, board.progress, board.tick)
        models = {name: scratch / "models" / name for _, name in names}
        fusing.jobs = [
            Job(
                f"{name}, seed {seed}",
                fusion_job,
                (config, str(tests), str(models[name]) if seed == repeats[0] else ""),
                seconds(name, seed),
            )
            for (seed, name), config in configs.items()
        ]
        board.start(fusing)
        fused = workers.run(fusing.jobs, board.progress, board.tick)
    board.say("writing the report")
    shutil.rmtree(scratch / "cache")
    contenders = [
        Contender("pivot before", "the pivot as it was", [before["pivot"]], trained=False),
        Contender("source A", f"expert of {first.expert_of}", [before["A"]], trained=False),
        Contender("source B", f"expert of {second.expert_of}", [before["B"]], trained=False),
    ]
    metrics = []
    for name, what in OBJECTIVES.items():
        runs = [fused[f"{name}, seed {seed}"] for seed in repeats]
        distils = objective_config(name, size, 0)[0].distils
        contenders.append(
            Contender(name, what, [run[1] for run in runs], True, distils, sum(r[2] for r in runs) / len(runs))
        )
        metrics += [{"objective": name, "seed": s, **row} for s, run in zip(repeats, runs) for row in run[0]]
    config = {
        "size": size_name,
        **dataclasses.asdict(size),
        "seeds": len(repeats),
        "recipes": {r.name: dataclasses.asdict(r) for r in (first, second, pivot)},
        "fusions": {f"{name}, seed {seed}": c.as_dict() for (seed, name), c in configs.items()},
    }
    return DefaultRun(contenders, metrics, config, models)


def _stored(seed: int, name: str) -> str:
    return f"source {name}, seed {seed}"


def _title(recipe: recipes.ModelRecipe) -> str:
    return recipe.name if recipe.name == "pivot" else f"source {recipe.name}"


def _write_data(folder: Path, size: Size, repeats: range) -> tuple[Path, dict[int, Path]]:
    """Write fusion sets, one a seed, and held-out sets that share no text with any of them."""
    pools = {seed: draw_each(FUSED_TASKS, size.examples, POOL_SEED + seed) for seed in repeats}
    used = [problem for pool in pools.values() for problem in pool]
    validation = draw_each(FUSED_TASKS, max(2, min(32, size.tests)), VALIDATION_SEED, avoid=used)
    tests = draw_each(ALL_TASKS, size.tests, TEST_SEED, avoid=used)
    paths = {}
    for seed, pool in pools.items():
        paths[seed] = folder / f"train-{seed}.jsonl"
        write_examples(paths[seed], _examples(pool))
    write_examples(folder / "validation.jsonl", _examples(validation))
    write_examples(folder / "test.jsonl", _examples(tests))
    assert not {t for t in tests if t.task in EXACT_TASKS} & set(used)
    return folder / "test.jsonl", paths
