"""The cells of a text file: encoding, comments, separator and decimal commas, each found and said."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass

from gwfast.errors import InputError
from gwfast.readers.content import Source

_COMMENTS = ("#", "%")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_QUOTED = re.compile(r'"[^"]*"')
_WITH_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
_NUMBER = r"[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?"
_SPACED = re.compile(rf"\s*{_NUMBER}(?:\s+{_NUMBER})+\s*")
_NAMES = {";": "semicolons", "\t": "tabs", ",": "commas", " ": "spaces"}


@dataclass(frozen=True)
class Cells:
    """Rows of cells without comments and empty lines, the line number of each, and what was noticed."""

    rows: list[list[str]]
    lines: list[int]
    said: tuple[str, ...]


def text_of(source: Source) -> tuple[str, tuple[str, ...]]:
    """Return the text of a file and what is said of its encoding."""
    data = source.read()
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16"), ("UTF-16",)
        text, said = data.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        text, said = data.decode("latin-1"), ("not UTF-8, so read as latin-1",)
    if _CONTROL.search(text):
        raise InputError(f"{source.path}: expected a text file, found binary data; check the ending of its name")
    return text, said


def cells_of(source: Source) -> Cells:
    """Return the cells of a table in a text file.

    Raises
    ------
    InputError
        The file is no text, or has quotes that do not close.
    """
    text, said = text_of(source)
    every = [(i, line) for i, line in enumerate(re.split(r"\r\n|\r|\n", text), 1) if line.strip()]
    kept = [(i, line) for i, line in every if not line.lstrip().startswith(_COMMENTS)]
    if len(kept) < len(every):
        count = len(every) - len(kept)
        said += (f"{count} comment line{'s' * (count > 1)} left out",)
    separator = _separator(source, kept)
    rows, lines = _split(source, kept, separator)
    if separator != ",":
        if kept:
            said += (f"columns between {_NAMES[separator]}",)
        if any(_WITH_COMMA.fullmatch(cell) for row in rows for cell in row):
            said += ("decimal commas",)
            rows = [[c.replace(",", ".") if _WITH_COMMA.fullmatch(c) else c for c in row] for row in rows]
    if rows and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
        while len(rows[0]) > 1 and not any(row[-1] for row in rows):  # separators at the ends of lines
            rows = [row[:-1] for row in rows]
    return Cells(rows, lines, said)


def _separator(source: Source, kept: list[tuple[int, str]]) -> str:
    bare = [_QUOTED.sub("q", line) for _, line in kept]
    counts = {sep: sum(sep in line for line in bare) for sep in (";", "\t", ",")}
    if counts[";"] and counts[","] == len(bare) and counts[";"] < len(bare):
        number = next(i for (i, _), line in zip(kept, bare, strict=True) if ";" in line)
        raise InputError(
            f"{source.path}, line {number}: found semicolons between commas; separate the columns by one of them"
        )
    for separator, count in counts.items():
        if count and count == len(bare):
            if separator == "," and all(_SPACED.fullmatch(line) for line in bare):
                return " "  # numbers with decimal commas between spaces
            return separator
    common = max(counts, key=lambda sep: counts[sep])
    if common == "," and all(_SPACED.fullmatch(line) for line in bare):
        return " "
    return common if 2 * counts[common] > len(bare) else " "


def _split(source: Source, kept: list[tuple[int, str]], separator: str) -> tuple[list[list[str]], list[int]]:
    if separator == " ":
        return [line.split(" #")[0].split() for _, line in kept], [i for i, _ in kept]
    reader = csv.reader([line for _, line in kept], delimiter=separator, skipinitialspace=True)
    rows, lines = [], []
    try:
        for row in reader:
            rows.append([" ".join(cell.split()) for cell in row])  # a quoted cell may hold line breaks
            lines.append(kept[reader.line_num - 1][0])
    except csv.Error as error:
        raise InputError(f"{source.path}: expected a table of text ({error})") from None
    return rows, lines
