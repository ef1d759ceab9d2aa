"""How often a GW coupling of two graphs on tokens finds the true correspondence of the tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ot

import gwfast
from experiments.shared.benchmark import opened
from experiments.shared.jobs import Job, run_jobs
from experiments.shared.records import Record, Row
from experiments.shared.threads import one_thread
from experiments.token_recovery.graphs import coactivation, features, text_graphs
from gwfast_llm.text.examples import spelling
from gwfast_llm.tiny.tasks import ALL_TASKS, draw_each

RECORD = Record(Path(__file__).parent / "records")
AMOUNTS = (100, 800, 6400)
SAME_AMOUNT, SEEDS = 800, 5  # the check on equal texts is run at one amount
DOMAINS = {"A": "MAB", "B": "NDSL", "Ap": "MAB", "Bp": "NDSL"}
STATED_MINUTES = 3.9


def config() -> Row:
    """What is run."""
    return {"amounts": list(AMOUNTS), "same_amount": SAME_AMOUNT, "seeds": list(range(SEEDS)), "domains": DOMAINS}


def texts(tokenizer: Any, tasks: str, amount: int, seed: int) -> list[list[int]]:
    """Token ids of drawn problems, whole texts."""
    problems = draw_each(tasks, -(-amount // len(tasks)), seed)
    return tokenizer([p.prompt + p.response for p in problems], add_special_tokens=False)["input_ids"]


def couple(first: np.ndarray, second: np.ndarray, cost: np.ndarray | None = None) -> np.ndarray:
    """Plan of `gwfast.exact_gw` between graphs scaled to largest edge 1; with node costs it is fused."""
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    if cost is None:
        return np.asarray(gwfast.exact_gw(first, second).plan.toarray())
    return np.asarray(gwfast.exact_gw(first, second, M=cost / cost.max(), alpha=0.5).plan.toarray())


def hits(plan: np.ndarray, truth: np.ndarray) -> float:
    """Share of rows with a known partner whose largest entry is on it; `truth` is -1 where unknown."""
    known = truth >= 0
    return float((plan.argmax(1) == truth)[known].mean())


def matched(
    graphs: tuple[dict[str, np.ndarray], dict[str, np.ndarray]], node: tuple[np.ndarray, np.ndarray], truth: np.ndarray
) -> Row:
    """Share of tokens found by features alone, and by GW and fused GW on every graph."""
    cost = ot.dist(*node)
    n, m = cost.shape
    found = {"features": hits(ot.emd(np.full(n, 1 / n), np.full(m, 1 / m), cost), truth)}
    for name in graphs[0]:
        first, second = graphs[0][name], graphs[1][name]
        found[f"{name}, GW"] = hits(couple(first, second), truth)
        found[f"{name}, fused"] = hits(couple(first, second, cost), truth)
    return {"tokens": int((truth >= 0).sum()), "chance": 1 / m, **found}


def hidden(amount: int, seed: int, same: bool) -> Row:
    """One tokenizer, the second vocabulary renamed at random; disjoint texts, or the same as the trivial case."""
    tokenizer = opened("pivot")[1]
    size = len(tokenizer)
    first = texts(tokenizer, ALL_TASKS, amount, 10_000 + seed)
    second = first if same else texts(tokenizer, ALL_TASKS, amount, 50_000 + seed)
    kept = _kept(first, second, size)
    return _renamed(text_graphs(first, size), text_graphs(second, size), (first, second), kept, kept, size, seed)


def models(source: str, amount: int, seed: int) -> Row:
    """Co-activation graphs of a source with the pivot's tokenizer and of the pivot, disjoint texts, hidden renaming."""
    (teacher, tokenizer), (pivot, _) = opened(source), opened("pivot")
    size = len(tokenizer)
    first = texts(tokenizer, DOMAINS[source], amount, 10_000 + seed)
    second = texts(tokenizer, DOMAINS[source], amount, 50_000 + seed)
    kept = _kept(first, second, size)
    graphs = [
        {"co-activation": coactivation(model, rows, tokenizer.pad_token_id), **text_graphs(rows, size)}
        for model, rows in ((teacher, first), (pivot, second))
    ]
    return _renamed(graphs[0], graphs[1], (first, second), kept, kept, size, seed)


def different(source: str, amount: int, seed: int, same: bool) -> Row:
    """Really different tokenizers; the truth is known for tokens of equal spelling."""
    (teacher, its), (pivot, own) = opened(source), opened("pivot")
    first = texts(its, DOMAINS[source], amount, 10_000 + seed)
    second = texts(own, DOMAINS[source], amount, (10_000 if same else 50_000) + seed)
    spelled = spelling(its), spelling(own)
    used = [np.unique(np.concatenate([np.asarray(r) for r in rows])) for rows in (first, second)]
    where = {spelled[1][j]: k for k, j in enumerate(used[1])}
    truth = np.array([where.get(spelled[0][i], -1) for i in used[0]])
    graphs = [
        {
            name: graph[np.ix_(u, u)]
            for name, graph in {
                "co-activation": coactivation(model, rows, tokenizer.pad_token_id),
                **text_graphs(rows, len(tokenizer)),
            }.items()
        }
        for model, tokenizer, rows, u in ((teacher, its, first, used[0]), (pivot, own, second, used[1]))
    ]
    node = features(first, len(its))[used[0]], features(second, len(own))[used[1]]
    return matched((graphs[0], graphs[1]), node, truth)


def _kept(first: list[list[int]], second: list[list[int]], size: int) -> np.ndarray:
    uses = [np.bincount(np.concatenate([np.asarray(r) for r in rows]), minlength=size) for rows in (first, second)]
    return np.flatnonzero((uses[0] > 0) & (uses[1] > 0))


def _renamed(
    first: dict[str, np.ndarray],
    second: dict[str, np.ndarray],
    rows: tuple[list[list[int]], list[list[int]]],
    kept: np.ndarray,
    other: np.ndarray,
    size: int,
    seed: int,
) -> Row:
    order = np.random.default_rng(seed).permutation(len(other))
    hidden_names = other[order]
    truth = np.argsort(order)
    own = {name: graph[np.ix_(kept, kept)] for name, graph in first.items()}
    its = {name: graph[np.ix_(hidden_names, hidden_names)] for name, graph in second.items()}
    return matched((own, its), (features(rows[0], size)[kept], features(rows[1], size)[hidden_names]), truth)


def jobs() -> list[Job]:
    """One job a case and seed."""
    found = []
    for seed in range(SEEDS):
        for amount in AMOUNTS:
            for same in (False, True) if amount == SAME_AMOUNT else (False,):
                fields = {"case": "hidden", "texts": "same" if same else "disjoint", "amount": amount, "seed": seed}
                work = lambda a=amount, s=seed, t=same: hidden(a, s, t)
                found.append(Job(f"hidden {fields['texts']} {amount} seed {seed}", work, fields))
            plain = "" if amount == SAME_AMOUNT else f"{amount} "
            for source in ("Ap", "Bp"):
                fields = {"case": f"models {source}", "texts": "disjoint", "amount": amount, "seed": seed}
                work = lambda n=source, a=amount, s=seed: models(n, a, s)
                found.append(Job(f"models {source} {plain}seed {seed}", work, fields))
            for source in ("A", "B"):
                for same in (False, True) if amount == SAME_AMOUNT else (False,):
                    fields = {"case": f"different {source}", "texts": "same" if same else "disjoint", "seed": seed}
                    work = lambda n=source, a=amount, s=seed, t=same: different(n, a, s, t)
                    name = f"different {source} {fields['texts']} {plain}seed {seed}"
                    found.append(Job(name, work, {**fields, "amount": amount}))
    return found


def main() -> None:
    """Run what is not in the record yet."""
    RECORD.start(config())
    run_jobs(RECORD, jobs())


if __name__ == "__main__":
    one_thread()
    main()
