"""The embedded default: build two experts and a pivot, fuse them under several objectives, compare on new problems."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.reports.scores import Contender, Score
from gwfast_llm.reports.words import TASKS
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.progress import Board, Stage
from gwfast_llm.system.records import read_object, write_object
from gwfast_llm.system.workers import Job, Workers
from gwfast_llm.text.examples import Example
from gwfast_llm.text.reading import read_examples, write_examples
from gwfast_llm.tiny import recipes
from gwfast_llm.tiny.tasks import ALL_TASKS, EXACT_TASKS, Problem, draw_each

SOURCES = ("A", "B")
FUSED_TASKS = "MNABDSL"
TEST_SEED = 999
VALIDATION_SEED = 300
ROOM = 2**28  # bytes that a run needs on its disk, at most
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
    "infigfusion": "SFT + ULD + GLD (log-probabilities, in units of the source's graph, its weight limited)",
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
        eval_every=0,  # every contender is scored on problems of its own, and samples are not shown
        samples=0,
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
    from gwfast_llm.training.prepare import prepare_run
    from gwfast_llm.training.sources import store_source, store_targets

    run = prepare_run(config, config.sources)
    return store_source(config, number, run, "float32", progress) + store_targets(config, number, run, progress)


Found = tuple[list[dict[str, Any]], list[Score], float]  # metrics, scores and seconds of a fusion


@dataclass(frozen=True)
class Place:
    """Where a fusion of the embedded default keeps what it makes.

    Attributes
    ----------
    result : Path
        Metrics, scores and time, once all is done: a run that goes on takes them from there.
    checkpoints : Path
        Its checkpoints.
    model : Path or None
        Its model, where that is kept.
    """

    result: Path
    checkpoints: Path
    model: Path | None


def fusion_job(config: FuseConfig, tests: str, place: Place, progress) -> Found:
    """Worker job: run one fusion and score it, from its last checkpoint where there is one."""
    from gwfast_llm.reports.scoring import evaluate
    from gwfast_llm.training.fusion import fuse
    from gwfast_llm.training.gather import write_model

    fused = fuse(config, progress, place.checkpoints, resume=True)
    scores = [Score(s.task, s.kind, s.value) for s in evaluate(fused.model, fused.tokenizer, read_examples(tests))]
    if place.model is not None:
        shutil.rmtree(place.model, ignore_errors=True)  # of a run that was killed before it wrote its result
        write_model(fused.model, fused.tokenizer, place.model)
    found = {"metrics": fused.metrics, "scores": [dataclasses.asdict(s) for s in scores], "seconds": fused.seconds}
    place.result.parent.mkdir(exist_ok=True)
    write_object(place.result, found)
    shutil.rmtree(place.checkpoints, ignore_errors=True)
    return fused.metrics, scores, fused.seconds


def finished(place: Place) -> Found | None:
    """What a fusion found before the run was stopped; None where it was not done."""
    if not place.result.is_file():
        return None
    found = read_object(place.result, "delete it, and the same command with --resume runs that fusion again")
    try:
        return found["metrics"], [Score(**score) for score in found["scores"]], float(found["seconds"])
    except (KeyError, TypeError, ValueError):
        raise FusionError(f"{place.result} is damaged; delete it, and --resume runs that fusion again") from None


def score_job(model: str, tests: str, progress) -> list[Score]:
    """Worker job: score a model as it is."""
    from gwfast_llm.models.loading import load_model, load_tokenizer
    from gwfast_llm.reports.scoring import evaluate

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
    minutes : float
        Time that it took.
    """

    contenders: list[Contender]
    metrics: list[dict[str, Any]]
    config: dict[str, Any]
    models: dict[str, Path]
    minutes: float


def run_default(size_name: str, scratch: Path, seeds: int | None = None) -> DefaultRun:
    """Run the embedded default.

    Parameters
    ----------
    size_name : {"default", "smoke"}
        See `SIZES`.
    scratch : Path
        Folder for data, models, results and checkpoints; the caller's to keep or remove.  What is done there already
        is not done again.
    seeds : int, optional
        Number of repetitions, the size's own by default.

    Returns
    -------
    DefaultRun
    """
    started = time.monotonic()
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
    data.mkdir(exist_ok=True)
    tests, pools = _write_data(data, size, repeats)
    names = [(seed, name) for seed in repeats for name in ("path", "infigfusion", "sft", "sft_short")]

    def seconds(name: str, seed: int) -> float:
        train = objective_config(name, size, seed)[1]
        return 4 + train.steps * (0.035 if name.startswith("sft") else 0.045) + 2 * size.tests / 200 + extra(seed)

    def extra(seed: int) -> float:
        return 8.0 if seed == 0 and size.steps > 50 else 1.0

    # Expected times only, to say from the start how long the whole takes; the jobs themselves need the built models.
    caching = Stage("caching the sources", [Job(_stored(s, n), cache_job, (), 3.0) for s in repeats for n in SOURCES])
    fusing = Stage("fusing", [Job(_run_of(s, n), fusion_job, (), seconds(n, s)) for s, n in names])
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
        models = {name: scratch / "models" / name for _, name in names}
        places = {
            (seed, name): Place(
                scratch / "results" / f"{name}-{seed}.json",
                scratch / "checkpoints" / f"{name}-{seed}",
                models[name] if seed == repeats[0] else None,
            )
            for seed, name in names
        }
        done = {_run_of(*which): found for which, place in places.items() if (found := finished(place)) is not None}
        left = [which for which in names if _run_of(*which) not in done]
        caching.jobs = [
            Job(_stored(seed, name), cache_job, (configs[seed, "path"], number), 3.0)
            for seed in repeats
            for number, name in enumerate(SOURCES)
            if any(seed == one for one, _ in left)
        ]
        board.start(caching)
        workers.run(caching.jobs, board.progress, board.tick)
        fusing.jobs = [
            Job(_run_of(*which), fusion_job, (configs[which], str(tests), places[which]), seconds(which[1], which[0]))
            for which in left
        ]
        board.start(fusing)
        fused = {**done, **workers.run(fusing.jobs, board.progress, board.tick)}
    board.say("writing the report")
    contenders = [
        Contender("pivot before", "the pivot as it was", [before["pivot"]], trained=False),
        Contender("source A", f"expert of {_in_words(first.expert_of)}", [before["A"]], trained=False),
        Contender("source B", f"expert of {_in_words(second.expert_of)}", [before["B"]], trained=False),
    ]
    metrics = []
    for name, what in OBJECTIVES.items():
        runs = [fused[_run_of(seed, name)] for seed in repeats]
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
        "fusions": {_run_of(*which): c.as_dict() for which, c in configs.items()},
    }
    return DefaultRun(contenders, metrics, config, models, (time.monotonic() - started) / 60)


def _in_words(tasks: str) -> str:
    """Tasks by name: ``MA`` is dialect M and arithmetic."""
    return ", ".join(TASKS[task].partition("\n")[0] for task in tasks)


def _run_of(seed: int, name: str) -> str:
    return f"{name}, seed {seed}"


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
