"""What the record says about path-KL and its rivals."""

from __future__ import annotations

from pathlib import Path

from experiments.rivals.methods import KEPT, METHODS, TAILS
from experiments.rivals.policies import POLICIES, STARTS
from experiments.rivals.run import RECORD, STEPS, TAIL_SEEDS, jobs
from experiments.shared.markdown import (
    LEVEL,
    SEEDS_VARY,
    cell,
    common,
    comparison_table,
    grid_table,
    provenance,
    table,
)
from experiments.shared.records import Row, where
from experiments.shared.statistics import Paired, paired_tests, spread

NAMES = [m.name for m in METHODS]
RIVALS = [name for name in NAMES if name not in ("sft", "path")]
SCORES = ("M", "N", "O", "A", "B", "D", "S", "L")
MINUTES = 80


def runs(method: str, steps: int) -> list[Row]:
    """Test rows of a method at a budget."""
    return where(RECORD.rows, stage="test", method=method, steps=steps)


def budgets() -> list[int]:
    """Budgets at which every method has at least two seeds in common with path."""
    found = []
    for steps in STEPS:
        seeds = [{r["seed"] for r in runs(name, steps)} for name in NAMES]
        if len(set.intersection(*seeds)) > 1:
            found.append(steps)
    return found


def comparisons(steps: int, name: str) -> list[Paired]:
    """Every rival against path, and path against fine-tuning: one family of tests."""
    pairs = [("path", "sft"), *((rival, "path") for rival in RIVALS)]
    found = []
    for first, second in pairs:
        a, b = common(runs(first, steps), runs(second, steps), name)
        if len(a) > 1:
            found.append((f"{first} less {second}", a, b))
    return paired_tests(found)


def scores(steps: int) -> str:
    """Every method at one budget."""
    lines = []
    for method in METHODS:
        own = runs(method.name, steps)
        weight = f"{own[0]['weight']:g}" if own and method.grid else "–"
        if own and method.grid and own[0]["weight"] in (method.grid[0], method.grid[-1]):
            weight += " (edge)"
        cells = [cell(own, f) for f in ("excess", "exact")] + [cell(own, t, 2) for t in SCORES]
        lines.append([method.name, weight, str(len(own)), *cells])
    return table(["method", "w", "seeds", "excess M, N", "exact match", *SCORES], lines)


def verdict(steps: int) -> str:
    """What won, where, by how much, and what differs by no more than chance."""
    text = {t.name.removesuffix(" less path"): t for t in comparisons(steps, "excess") if t.name.endswith("less path")}
    exact = {t.name.removesuffix(" less path"): t for t in comparisons(steps, "exact") if t.name.endswith("less path")}
    better = [f"`{n}` ({t.mean:+.3f})" for n, t in text.items() if t.p_corrected < LEVEL and t.mean < 0]
    worse = [f"`{n}` ({t.mean:+.3f})" for n, t in text.items() if t.p_corrected < LEVEL and t.mean > 0]
    apart = [f"`{n}` ({t.mean:+.3f})" for n, t in text.items() if t.p_corrected >= LEVEL]
    right = [f"`{n}` ({t.mean:+.3f})" for n, t in exact.items() if t.p_corrected < LEVEL]
    seeds = min(len(runs(name, steps)) for name in NAMES)
    head = f"{steps} steps, {seeds} seeds, excess nats a word against `path` "
    return (
        head
        + f"({spread([r['excess'] for r in runs('path', steps)]).text()}): "
        + (f"better: {', '.join(better)}; " if better else "none is better; ")
        + (f"worse: {', '.join(worse)}; " if worse else "none is worse; ")
        + (f"no significant difference: {', '.join(apart)}. " if apart else "every difference is significant. ")
        + (f"Exact match differs for {', '.join(right)}." if right else "On exact match no difference is significant.")
    )


def tails() -> str:
    """Path-KL with few kept tokens, both treatments of the rest, and their tests."""
    lines = []
    for keep in KEPT:
        both = [where(RECORD.rows, stage="tail", method=tail, keep=keep) for tail in TAILS]
        lines.append([str(keep), *(cell(own, f) for own in both for f in ("excess", "exact"))])
    head = ["K", *(f"{f}, {tail}" for tail in TAILS for f in ("excess", "exact"))]
    return _with_tests(table(head, lines), tail_tests())


def tail_tests() -> list[Paired]:
    """The two treatments of the tail, one test a K."""
    pairs = []
    for keep in KEPT:
        a, b = common(*(where(RECORD.rows, stage="tail", method=tail, keep=keep) for tail in TAILS), "excess")
        if len(a) > 1:
            pairs.append((f"K = {keep}: bucket less renormalise", a, b))
    return paired_tests(pairs)


def _with_tests(found: str, tests: list[Paired]) -> str:
    return f"{found}\n\n{comparison_table(tests)}" if tests else found


def _merged() -> dict[str, list[Row]]:
    """Rows of every model of the merges, in order of the seed."""
    found: dict[str, list[Row]] = {}
    for row in where(RECORD.rows, stage="merge"):
        for one in row["results"]:
            found.setdefault(one["name"], []).append(one | {"seed": row["seed"]})
    return found


def merges() -> str:
    """All sources at once beside one run a source and their merges."""
    own = _merged()
    if not own:
        return "Not yet run."
    lines = [[name, *(cell(rows, f) for f in ("excess", "exact"))] for name, rows in own.items()]
    head = [f"{len(own['together'])} seeds", "excess M, N", "exact match"]
    return _with_tests(table(head, lines), merge_tests(""))


def merge_tests(besides: str = " alone") -> list[Paired]:
    """Every merge against all sources at once; with "" each source alone, too."""
    own = _merged()
    pairs = [
        (f"{name} less together", *common(rows, own["together"], "excess"))
        for name, rows in own.items()
        if name != "together"
    ]
    tests = paired_tests(pairs) if pairs and len(pairs[0][1]) > 1 else []
    return [test for test in tests if not besides or besides not in test.name]


def _of_policy(name: str, start: str) -> list[Row]:
    return where(RECORD.rows, stage="policy", method=name, start=start)


def policies() -> str:
    """Given answers beside answers of the pivot's own, at as many teacher tokens."""
    lines = []
    for start in STARTS:
        for policy in POLICIES:
            own = _of_policy(policy.name, start)
            cells = [cell(own, f, d) for f, d in (("excess", 3), ("exact", 3), ("teacher_tokens", 0))]
            steps = ", ".join(sorted({str(row["optimiser_steps"]) for row in own})) or "–"
            lines.append([start, policy.name, str(len(own)), *cells, steps, cell(own, "train_seconds", 0)])
    head = ["start", "answers", "seeds", "excess M, N", "exact match", "teacher tokens", "steps", "CPU seconds"]
    found = [table(head, lines)]
    for field, words in (("excess", "Excess nats a word"), ("exact", "Exact match")):
        tests = policy_tests(field)
        found += [f"{words}, paired by seed, Holm's correction over the family:", comparison_table(tests)] * bool(tests)
    return "\n\n".join(found)


def apart_in_tokens() -> str:
    """By how much the numbers of teacher tokens differ after all."""
    seen = [[row["teacher_tokens"] for p in POLICIES for row in _of_policy(p.name, start)] for start in STARTS]
    most = max((max(own) / min(own) - 1 for own in seen if own), default=0.0)
    return f"; their numbers differ by at most {most:.1%}" if most else ""


def policy_tests(field: str) -> list[Paired]:
    """Every other kind of answers or divergence against given answers, from both starts: one family."""
    pairs = []
    for start in STARTS:
        for policy in POLICIES[1:]:
            a, b = common(_of_policy(policy.name, start), _of_policy("given", start), field)
            if len(a) > 1:
                pairs.append((f"{start}: {policy.name} less given", a, b))
    return paired_tests(pairs)


def merge_brief() -> str:
    """Merged models in a sentence."""
    own = _merged()
    if not own:
        return "Not yet run."
    told = ", ".join(f"{name} {cell(rows, 'excess')} and {cell(rows, 'exact')}" for name, rows in own.items())
    seeds = len(own["together"])
    return f"Small benchmark, `path`, 200 steps, {seeds} seeds, excess nats a word and exact match: {told}."


def policy_brief() -> str:
    """Answers of the pivot's own in a sentence."""
    told = []
    for start, words in zip(STARTS, ("From a pivot that knows little", "From one that `path` has taught"), strict=True):
        each = [
            f"{policy.name} {cell(own, 'excess')} and {cell(own, 'exact')}"
            for policy in POLICIES
            if (own := _of_policy(policy.name, start))
        ]
        told += [f"{words}: {', '.join(each)}."] if each else []
    if not told:
        return "Not yet run."
    seeds = len(_of_policy("given", STARTS[0]))
    head = (
        f"Small benchmark, `path`, {seeds} seeds, as many teacher tokens each, excess nats a word and exact match.  "
        "*Own half*: half of the batches answered by the pivot; *reverse*: reverse KL."
    )
    return "\n\n".join([head, *told])


def brief() -> str:
    """A few sentences for overviews."""
    if not budgets():
        return "Not yet run: `python -m experiments.rivals.run`."
    return "\n\n".join(verdict(steps) for steps in budgets())


def readme() -> str:
    """README of the folder."""
    what = "\n".join(f"* `{m.name}`: {m.what}" for m in METHODS)
    parts = [
        "# Path-KL and its rivals",
        "Question: does `path`, our recommendation, hold against the published objectives for foreign tokenizers, each "
        "as a term of this package and with a weight of its own, at equal budgets?",
        brief(),
        "![excess](excess.png)",
        what,
        "Each term says in its docstring what it leaves out of the published method. X-Token's H-KL is not a row: "
        "between these vocabularies its relaxed pairs are the equal spellings, and it is `hybrid`. SimCT is made for "
        "answers that the pivot writes itself; here all answers are given.",
    ]
    for steps in STEPS:
        parts += [f"## {steps} steps", scores(steps)]
        for name, words in (("excess", "Excess nats a word"), ("exact", "Exact match")):
            tests = comparisons(steps, name)
            if tests:
                parts += [f"{words}, paired by seed, Holm's correction over the family:", comparison_table(tests)]
    parts += [
        "## The tail",
        f"`path` with K kept tokens of source and target, 200 steps, {TAIL_SEEDS} seeds: the rest as one bucket, or "
        "left out and the kept ones normalised. The vocabularies have 110, 150 and 70 tokens.",
        tails(),
        "## Models merged",
        "`path` with both sources at once, with each source alone on all examples, and the two latter merged with "
        "equal weights (`ties` keeps a fifth of the entries, `ties dense` all; x2: twice the mean change); 200 steps.",
        merges(),
        "## Answers of the pivot's own",
        "`path` by the trainer: given answers, or half of the batches answered by the pivot itself (temperature 1, at "
        "most 48 tokens, anew every 10 steps); on its own answers there is no cross-entropy. A teacher token is an "
        "answer token of a batch that the sources are asked about; the steps are those that take as many of them as "
        "200 steps of given answers, by the rate found on the pool that chooses weights"
        + apart_in_tokens()
        + ". *Taught*: the pivot after "
        "200 steps of `path` on given answers, then at half the learning rate.",
        policies(),
        "## Weights",
        "Chosen on a pool of their own for each number of steps: the largest exact match less excess, one seed. "
        "*edge*: the chosen weight lies at an end of its grid.",
        *(f"{steps} steps:\n\n{grid_table(RECORD.rows, NAMES, steps)}" for steps in STEPS),
        "## What this does not show",
        "* Tiny models and five artificial tasks: nothing about large ones, nor about the published numbers.\n"
        "* The authors' own code was not run; the terms follow their papers and code as far as those say.\n"
        f"{SEEDS_VARY}",
        "## How",
        provenance(RECORD, [j.name for j in jobs()], "python -m experiments.rivals.run", MINUTES),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write() -> None:
    """Write the README."""
    (Path(__file__).parent / "README.md").write_text(readme())


if __name__ == "__main__":
    write()
