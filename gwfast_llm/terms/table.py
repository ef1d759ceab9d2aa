"""The table of terms; everything that knows terms by name iterates it."""

from __future__ import annotations

from gwfast_llm.config import WEIGHTS
from gwfast_llm.system.errors import FusionError
from gwfast_llm.terms.alm import Alm
from gwfast_llm.terms.gld import Gld
from gwfast_llm.terms.gld_aligned import GldAligned
from gwfast_llm.terms.gold import Gold
from gwfast_llm.terms.gw_aligned import GwAligned
from gwfast_llm.terms.hellinger import Hellinger
from gwfast_llm.terms.hybrid import Hybrid
from gwfast_llm.terms.kl import KullbackLeibler
from gwfast_llm.terms.path import Path
from gwfast_llm.terms.sft import CrossEntropy
from gwfast_llm.terms.simct import SimCt
from gwfast_llm.terms.term import Term
from gwfast_llm.terms.uld import Uld
from gwfast_llm.terms.xtoken import XTokenH, XTokenP

TERMS: dict[str, type[Term]] = {
    term.name: term
    for term in (
        CrossEntropy,
        KullbackLeibler,
        Path,
        Uld,
        Gld,
        GldAligned,
        Hellinger,
        Hybrid,
        Alm,
        Gold,
        SimCt,
        XTokenP,
        XTokenH,
        GwAligned,
    )
}


def register_term(term: type[Term]) -> type[Term]:
    """Add a term of your own to the table; a class decorator.

    Its weight is then given by name, ``ObjectiveConfig(preset="custom", terms={"mine": 0.5})``.

    Parameters
    ----------
    term : type of Term
        A subclass of `Term` with a `name` and a `part`.

    Returns
    -------
    type of Term
        The class itself.

    Raises
    ------
    FusionError
        When the name is that of another term, or no Python name, or a method is missing.

    Examples
    --------
    >>> from gwfast_llm.terms.sft import CrossEntropy
    >>> from gwfast_llm.terms.table import TERMS, register_term
    >>> @register_term
    ... class Again(CrossEntropy):
    ...     name = "again"
    >>> TERMS.pop("again").__name__
    'Again'
    """
    name = getattr(term, "name", "")
    if not name.isidentifier():
        raise FusionError(f"the name of {term.__name__} is {name!r}; expected letters, digits and underscores")
    known = TERMS.get(name)
    if name in WEIGHTS or (known is not None and known.__qualname__ != term.__qualname__):
        raise FusionError(f"there is a term {name!r} already; give {term.__name__} another name")
    missing = sorted(getattr(term, "__abstractmethods__", ()))
    if missing:
        raise FusionError(f"the term {term.__name__} has no method {missing[0]!r}; write one")
    TERMS[name] = term
    return term


def term_of(name: str) -> type[Term]:
    """Look a term up.

    Raises
    ------
    FusionError
        Naming those that there are.
    """
    if name not in TERMS:
        raise FusionError(
            f"objective.terms: there is no term {name!r}; register it with gwfast_llm.register_term, or give one of "
            f"{', '.join(TERMS)}"
        )
    return TERMS[name]
