"""Text for a Markdown page: in one line, without credentials, and without anything that a page would run."""

from __future__ import annotations

import re

from gwfast_llm.system.errors import one_line


def markdown(text: str) -> str:
    """A text for a page: shown as it is, in one line.

    Examples
    --------
    >>> markdown("<script>")
    '&lt;script&gt;'
    """
    found = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", found)


def code(text: str) -> str:
    """A text for a page as code, in as many backticks as it needs; pipes would end a cell of a table."""
    found = one_line(text).replace("|", "¦")
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", found)), default=0))
    space = " " if fence != "`" or not found else ""
    return f"{fence}{space}{found}{space}{fence}"
