"""Words for what has a short name in the code: objectives, terms, tasks of the embedded default."""

from __future__ import annotations

OBJECTIVES = {
    "sft": "fine-tuning alone",
    "sft_short": "short fine-tuning",
    "path": "KL along the text",
    "infigfusion": "InfiGFusion",
}
TERMS = {
    "sft": "cross-entropy",
    "kl": "KL",
    "path": "KL along the text",
    "uld": "sorted probabilities (ULD)",
    "gld": "sorted graphs (GLD)",
    "gld_aligned": "graphs in one vocabulary",
    "hellinger": "Hellinger distance",
    "hybrid": "KL on shared strings",
    "gw_aligned": "KL after a GW coupling",
}
TASKS = {  # of the embedded default
    "M": "dialect M\n(source A)",
    "N": "dialect N\n(source B)",
    "O": "dialect O\n(pivot's own)",
    "A": "arithmetic",
    "B": "boolean",
    "D": "brackets",
    "S": "sorting",
    "L": "liars",
}


def objective_in_words(name: str) -> str:
    """An objective for a legend; a term with its weight as ``hellinger=10``.

    Examples
    --------
    >>> objective_in_words("path"), objective_in_words("hellinger=10"), objective_in_words("source A")
    ('KL along the text', 'Hellinger distance x 10', 'source A')
    """
    term, _, weight = name.partition("=")
    if weight:
        return f"{TERMS.get(term, term)} x {weight}"
    return OBJECTIVES.get(name, name)


def term_in_words(name: str) -> str:
    """A term for a legend."""
    return TERMS.get(name, name)
