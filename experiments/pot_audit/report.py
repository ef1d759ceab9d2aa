"""What the record says about POT's plans and ours."""

from __future__ import annotations

from experiments.pot_audit.run import RECORD, STATED_MINUTES, jobs
from experiments.shared.markdown import provenance, table
from experiments.shared.records import where
from gwfast.demo import GAP, KINDS, SECONDS


def spans(kind: str) -> tuple[str, str]:
    """Factors above the proved bound that are left open, of POT's plans and of ours, least to largest."""
    rows = where(RECORD.rows, kind=kind)
    factors = (sorted(r[name] / r["lower"] for r in rows) for name in ("pot", "value"))
    pot, own = (f"{f[0]:.2f} to {f[-1]:.2f}" for f in factors)
    return pot, own


def brief() -> str:
    """One sentence for overviews."""
    copies = where(RECORD.rows, kind="noisy copies")
    dear = [r["pot"] / r["value"] for r in copies if r["pot"] > 10 * r["value"]]
    gap = max(1 - r["lower"] / r["value"] for r in copies)
    took = max(r["exact_seconds"] for r in copies)
    return (
        f"On {len(dear)} of {len(copies)} noisy copies of 50 points POT's plan costs {min(dear):.0f} to "
        f"{max(dear):.0f} times as much as ours, which is proved within {100 * gap:.2f} % of the optimum in "
        f"{took:.1f} s."
    )


def answer() -> str:
    """The finding."""
    each = "; ".join(f"{kind}: {pot} for POT's plan, {own} for ours" for kind in KINDS for pot, own in [spans(kind)])
    return f"{brief()} Cost of the plan over the proved lower bound, by kind: {each}."


def readme() -> str:
    """README of the folder."""
    lines = [
        [
            r["kind"],
            str(r["seed"]),
            *(f"{r[name]:.5g}" for name in ("pot", "value", "lower")),
            f"{r['pot'] / r['value']:.2f}",
            f"{r['value'] / r['lower']:.3f}",
            f"{r['pot_seconds']:.3f}",
            f"{r['exact_seconds']:.2f}",
        ]
        for r in RECORD.rows
    ]
    head = ["problem", "seed", "POT", "gwfast", "proved", "POT / gwfast", "gwfast / proved", "POT, s", "gwfast, s"]
    blocks = [
        "# How far are POT's plans and ours from the optimum?",
        answer(),
        "Question: on twelve problems with fixed seeds, what do the plan of `ot.gromov.gromov_wasserstein` and that "
        f"of `gwfast.exact_gw(rtol={GAP:g}, time_limit={SECONDS:g})` cost, and what is proved? Both values are the "
        "squared loss of the plan.",
        table(head, lines),
        "## What this does not show",
        "* POT runs once with its defaults; several starts find better plans (`experiments/solvers` has more solvers "
        "and problems).\n"
        "* Where the interval is wide, neither plan is known to be good or bad.",
        "## How",
        provenance(RECORD, [j.name for j in jobs()], "python -m experiments --only pot_audit", STATED_MINUTES),
        "![what each plan costs, and what is proved](audit.png)",
    ]
    return "\n\n".join(blocks) + "\n"
