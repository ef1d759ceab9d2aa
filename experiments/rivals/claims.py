"""Claims about fusion, one a row, and what the records of the small benchmark and of real weights say of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.real_fusion import report as real
from experiments.real_fusion.run import KEPT as REAL
from experiments.rivals.policies import STARTS
from experiments.rivals.report import RIVALS, budgets, comparisons, merge_tests, policy_tests, tail_tests
from experiments.shared.markdown import LEVEL, table
from experiments.shared.statistics import Paired


@dataclass(frozen=True)
class Gain:
    """What the claimed better one of two gains, and p after the correction of its family."""

    size: float
    p: float


def less(tests: Sequence[Paired]) -> list[Gain]:
    """Gains where the first of two should be below the second."""
    return [Gain(-test.mean, test.p_corrected) for test in tests]


def more(tests: Sequence[Paired]) -> list[Gain]:
    """Gains where the first of two should be above the second."""
    return [Gain(test.mean, test.p_corrected) for test in tests]


def verdict(gains: Sequence[Gain]) -> str:
    """Whether a claim holds in all comparisons, in some, or in none."""
    if not gains:
        return "not yet run"
    counts = {
        "holds": sum(g.p < LEVEL and g.size > 0 for g in gains),
        "lost": sum(g.p < LEVEL and g.size < 0 for g in gains),
        "not significant": sum(g.p >= LEVEL for g in gains),
    }
    found = {words: count for words, count in counts.items() if count}
    return next(iter(found)) if len(found) == 1 else ", ".join(f"{n} {words}" for words, n in found.items())


def figures(gains: Sequence[Gain], unit: str) -> str:
    """The gains, or their range."""
    sizes = sorted(gain.size for gain in gains)
    if not sizes:
        return "–"
    span = f"{sizes[0]:+.3f} to {sizes[-1]:+.3f}" if len(sizes) > 1 else f"{sizes[0]:+.3f}"
    return f"{span} {unit}"


def _row(claim: str, where: str, gains: Sequence[Gain], unit: str) -> list[str]:
    return [claim, where, verdict(gains), figures(gains, unit)]


def _path() -> list[list[str]]:
    """Path-KL against fine-tuning and its rivals."""
    lines = []
    for steps in budgets():
        text = {t.name: t for t in comparisons(steps, "excess")}
        tasks = {t.name: t for t in comparisons(steps, "exact")}
        rivals = [f"{name} less path" for name in RIVALS]
        where = f"small, {steps} steps"
        lines += [
            _row("`path` beats SFT", f"{where}, text", less([text["path less sft"]]), "nats a word"),
            _row("", f"{where}, tasks", more([tasks["path less sft"]]), "exact match"),
            _row("`path` beats every rival", f"{where}, text", more([text[n] for n in rivals]), "nats a word"),
            _row("", f"{where}, tasks", less([tasks[n] for n in rivals]), "exact match"),
        ]
    tests = real.rival_tests(REAL)
    own = [Gain(-t.mean, t.p_corrected) for t in tests if t.name == "path less sft"]
    others = [Gain(t.mean, t.p_corrected) for t in tests if t.name.endswith("less path")]
    lines.append(_row("`path` beats SFT", "real weights", own, "nats a problem"))
    lines.append(_row("`path` beats every rival", "real weights", others, "nats a problem"))
    beside = [Gain(-t.mean, t.p_corrected) for t in tests if t.name.endswith("less sft") and t.name[:5] != "path "]
    lines.append(_row("A rival beats SFT", "real weights", beside, "nats a problem"))
    return lines


def _others() -> list[list[str]]:
    """The tail, merges, and answers of the pivot's own."""
    lines = [
        _row("The tail as a bucket beats leaving it out", f"small, {t.name.split(':')[0]}", less([t]), "nats a word")
        for t in tail_tests()
    ]
    lines.append(_row("A merge beats all sources at once", "small", less(merge_tests()), "nats a word"))
    for start in STARTS:
        for name, claim in (
            ("own half", "Own answers beat given ones"),
            ("own half, reverse", "The same by reverse KL"),
            ("given, reverse", "Reverse KL beats forward"),
        ):
            text, tasks = (
                [t for t in policy_tests(field) if t.name == f"{start}: {name} less given"]
                for field in ("excess", "exact")
            )
            lines.append(_row(claim, f"small, {start} pivot, text", less(text), "nats a word"))
            lines.append(_row("", f"small, {start} pivot, tasks", more(tasks), "exact match"))
    return lines


def claims() -> str:
    """The table."""
    return table(["claim", "where", "verdict", "gain"], [*_path(), *_others()])
