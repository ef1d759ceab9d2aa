"""Log-probabilities that somebody has recorded: files of vLLM's ``prompt_logprobs``, JSON lines or parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gwfast_llm.system.errors import FusionError, one_line
from gwfast_llm.teachers.served.answers import NoAnswer, Scored, read_entries
from gwfast_llm.text.examples import Encoded

IDS, ENTRIES = "prompt_token_ids", "prompt_logprobs"


def files_of(where: str) -> list[Path]:
    """Recorded files at a place: one file, or those of a folder, in order of their names.

    Raises
    ------
    FusionError
        When there are none.
    """
    path = Path(where).expanduser()
    found = sorted([*path.glob("*.jsonl"), *path.glob("*.parquet")]) if path.is_dir() else [path]
    if not found or not all(one.is_file() for one in found):
        raise FusionError(
            f"served is {one_line(where)}, where there are no .jsonl or .parquet files; give a URL (http://...), a "
            "file or a folder of files"
        )
    return found


class Recorded:
    """Recorded answers, found by the tokens of the prompt.

    Parameters
    ----------
    where : str
        A file or a folder.
    bos : int or None
        Token that marks the beginning of a text; a server may have put it before a prompt.

    Raises
    ------
    FusionError
        When a file cannot be read or a row is no record of a prompt, naming file and row.
    """

    def __init__(self, where: str, bos: int | None):
        self._bos = bos
        self._rows: dict[tuple[int, ...], tuple[Path, int]] = {}
        self._kept: tuple[Path, Any] | None = None  # the table of the last parquet file
        for path in files_of(where):
            for place, row in _rows(path):
                self._rows[tuple(_ids(path, place, row))] = path, place

    def scored(self, rows: Sequence[Encoded]) -> list[Scored]:
        """Recorded answers of these examples.

        Raises
        ------
        NoAnswer
            When one is not there.
        """
        found = []
        for row in rows:
            own = tuple(row.ids)
            place = self._rows.get(own) or self._rows.get((self._bos or 0, *own))
            if place is None:
                raise NoAnswer(
                    f"no record has its {len(own)} tokens as {IDS}; record the prompts that python -m gwfast_llm.cache "
                    "--prompts writes"
                )
            record = self._record(*place)
            found.append(Scored(read_entries(_plain(record[ENTRIES])), _ids(*place, record)))
        return found

    def _record(self, path: Path, place: int) -> Any:
        if path.suffix != ".parquet":
            with path.open("rb") as file:
                file.seek(place)
                return json.loads(file.readline())
        if self._kept is None or self._kept[0] != path:
            import pyarrow.parquet as parquet

            self._kept = path, parquet.read_table(path, columns=[IDS, ENTRIES])
        return self._kept[1].slice(place, 1).to_pylist()[0]


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _ids(path: Path, place: int, row: Any) -> list[int]:
    try:
        found = [int(i) for i in _plain(row[IDS])]
        row[ENTRIES]
    except (KeyError, TypeError, ValueError):
        what = "row" if path.suffix == ".parquet" else "the line at byte"
        raise FusionError(f"{path}: {what} {place} has no {IDS} and {ENTRIES}; expected what vLLM gives") from None
    return found


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows of a file, each with its number, or the byte where its line begins."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as parquet

            with parquet.ParquetFile(path) as file:
                number = 0
                for batch in file.iter_batches(256, columns=[IDS, ENTRIES]):
                    for row in batch.to_pylist():
                        yield number, row
                        number += 1
            return
        with path.open("rb") as file:
            place = 0
            for line in file:
                if line.strip():
                    yield place, json.loads(line)
                place += len(line)
    except (OSError, ValueError, RecursionError, KeyError) as problem:
        raise FusionError(f"{path} cannot be read ({one_line(str(problem))[:160]})") from None


def write_prompts(path: Path, rows: Sequence[Encoded]) -> None:
    """Write the prompts of a source for a server that runs elsewhere: one JSON object a line, with their tokens."""
    from gwfast_llm.system.records import write_text

    write_text(path, "".join(json.dumps({IDS: list(row.ids)}) + "\n" for row in rows))
