"""Read examples from JSON lines, parquet or a Hugging Face data set; every complaint names the file and the line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwfast_llm.config import DataConfig
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.values import LARGEST_NUMBER, in_home
from gwfast_llm.text.conversations import BadRow, fields_of, read_tools, read_turns
from gwfast_llm.text.examples import Example

# what pyarrow raises for text that is no UTF-8, times after the year 9999 or by the nanosecond, unknown time zones
UNSAYABLE = (ValueError, TypeError, KeyError, OverflowError, NotImplementedError)


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as JSON lines with the fields prompt, response, task, log_prob."""
    lines = (
        json.dumps({"prompt": e.prompt, "response": e.response, "task": e.task, "log_prob": e.log_prob})
        for e in examples
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class ReadData:
    """What was read of a data set.

    Attributes
    ----------
    examples : list of Example
        Those that can be used.
    notes : list of str
        What was left out, counted by reason.
    """

    examples: list[Example]
    notes: list[str]


def read_examples(path: str | Path, columns: DataConfig | None = None) -> list[Example]:
    """Read examples; see `read_data`."""
    return read_data(path, columns).examples


def read_data(path: str | Path, columns: DataConfig | None = None) -> ReadData:
    """Read examples, and count what is left out.

    Parameters
    ----------
    path : str or Path
        A ``.jsonl``, ``.json`` (one object a line) or ``.parquet`` file, or the name of a Hugging Face data set, of
        which the split ``train`` is read (``name:split`` for another).
    columns : DataConfig, optional
        Names of the columns; prompt and response by default.  With its ``drop_bad`` rows that cannot be read are left
        out and counted.

    Returns
    -------
    ReadData

    Raises
    ------
    FusionError
        Naming the file, the line and the column when something is missing or not text; when no row is left.
    """
    columns = columns or DataConfig("")
    examples, reasons, unread = [], Counter[str](), Counter[str]()
    for number, record in _records(path):
        try:
            examples.append(_example(record, columns, number, unread))
        except (BadRow, RecursionError) as found:
            problem = found if isinstance(found, BadRow) else BadRow("a value is nested too deep")
            if not columns.drop_bad:
                raise FusionError(f"{path}, line {number}: {problem} (--data.drop_bad leaves such rows out)") from None
            reasons[problem.reason] += 1
    if not examples:
        why = f" that can be used: {reasons.most_common(1)[0][0]}" if reasons else ""
        raise FusionError(f"{path} holds no examples{why}")
    name = str(path).rstrip("/").rsplit("/", 1)[-1]
    notes = [f"{count} rows of {name} left out: {reason}" for reason, count in reasons.items()]
    notes += [
        f"{count} rows of {name} hold {field} with the answer, which is not read" for field, count in unread.items()
    ]
    return ReadData(examples, notes)


def _example(record: Any, columns: DataConfig, line: int, unread: Counter[str]) -> Example:
    """The example of a row; fields of its answer that are not read are counted."""
    if isinstance(record, BadRow):
        raise record
    if not isinstance(record, dict):
        wanted = columns.messages or f"{columns.prompt} and {columns.response}"
        raise BadRow(f"expected an object with {wanted}", f", found {type(record).__name__}")
    task, log_prob = str(record.get("task") or ""), record.get("log_prob")
    if columns.messages:
        turns, answer = read_turns(record.get(columns.messages), columns.messages)
        found = Example("", answer[1], task, None, turns, read_tools(record.get("tools")), line)
        unread.update(list(fields_of(answer)))
    else:
        for field in (columns.prompt, columns.response):
            if not isinstance(record.get(field), str):
                there = ", ".join(sorted(map(str, record))) or "nothing"
                raise BadRow(
                    f"column {field!r} is missing or not text",
                    f" (found: {there}); name the columns with --data.prompt, --data.response or --data.messages",
                )
        if log_prob is not None and (isinstance(log_prob, bool) or not isinstance(log_prob, (int, float))):
            raise BadRow("column 'log_prob' is no number", f" but {type(log_prob).__name__}")
        if log_prob is not None and not abs(log_prob) < LARGEST_NUMBER:
            raise BadRow("column 'log_prob' is not finite")
        found = Example(record[columns.prompt], record[columns.response], task, log_prob, line=line)
    if not found.response:
        raise BadRow("the response is empty", "; drop the line or use --data.drop_bad true")
    try:
        "".join(
            [
                found.prompt,
                found.response,
                found.task,
                found.tools,
                *(piece for turn in found.messages for piece in turn),
            ]
        ).encode()
    except UnicodeEncodeError:
        raise BadRow("the text holds half a character (a lone surrogate)") from None
    return found


def _records(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Number and content of every row; a `BadRow` where it cannot be read."""
    name = str(path)
    if not name.endswith((".jsonl", ".json", ".parquet")):
        yield from enumerate(_hub(name), 1)
        return
    path = Path(in_home(name, "the data file"))
    try:
        if not path.is_file():
            raise FusionError(f"data file {path} does not exist; give the path of a .jsonl or .parquet file")
        if name.endswith(".parquet"):
            yield from enumerate(_parquet(path), 1)
            return
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _json(line, number)
    except OSError as problem:
        raise FusionError(f"data file {path} cannot be read ({problem.strerror or problem})") from None


def _parquet(path: Path) -> list[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, UnicodeDecodeError) as problem:
        raise FusionError(f"{path} is not a parquet file ({str(problem).splitlines()[0]})") from None
    try:
        return table.to_pylist()
    except UNSAYABLE:
        return [_row(table, k) for k in range(table.num_rows)]


def _row(table: Any, k: int) -> Any:
    """One row of a table in which a value is none of Python's."""
    try:
        return table.slice(k, 1).to_pylist()[0]
    except UNSAYABLE as problem:
        said = (str(problem).strip().splitlines() or [""])[0][:160]
        return BadRow("a value cannot be read", f" ({type(problem).__name__}: {said})")


def _json(line: bytes, number: int) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as problem:
        return BadRow(
            "not UTF-8",
            f" (byte {problem.start + 1} of the line); save the file as UTF-8, for instance: iconv -f latin1 -t utf-8",
        )
    except json.JSONDecodeError as problem:
        return BadRow("not JSON", f" ({problem.msg})")
    except (ValueError, RecursionError):
        return BadRow("not JSON", " (a number too long, or nested too deep)")


def _hub(name: str) -> Any:
    from datasets import load_dataset

    data_set, _, split = name.partition(":")
    try:
        return load_dataset(data_set, split=split or "train")
    except Exception as problem:  # datasets raises many kinds of errors; each means that the data cannot be read
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise FusionError(
            f"data set {data_set!r} cannot be loaded ({first[:160]}); give a .jsonl or .parquet file, or a data set "
            "name of the Hugging Face hub"
        ) from None
