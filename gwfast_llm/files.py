"""Read examples from JSON lines, parquet or a Hugging Face data set; every complaint names the file and the line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gwfast_llm.config import DataConfig
from gwfast_llm.data import Example
from gwfast_llm.errors import FusionError


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as JSON lines with the fields prompt, response, task, log_prob."""
    lines = (
        json.dumps({"prompt": e.prompt, "response": e.response, "task": e.task, "log_prob": e.log_prob})
        for e in examples
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_examples(path: str | Path, columns: DataConfig | None = None) -> list[Example]:
    """Read examples.

    Parameters
    ----------
    path : str or Path
        A ``.jsonl``, ``.json`` (one object a line) or ``.parquet`` file, or the name of a Hugging Face data set, of
        which the split ``train`` is read (``name:split`` for another).
    columns : DataConfig, optional
        Names of the columns; prompt and response by default.

    Returns
    -------
    list of Example

    Raises
    ------
    FusionError
        Naming the file, the line and the column when something is missing or not text.
    """
    columns = columns or DataConfig("")
    examples = []
    for number, record in _records(path):
        where = f"{path}, line {number}"
        if not isinstance(record, dict):
            raise FusionError(f"{where}: expected an object with {columns.prompt} and {columns.response}")
        if columns.messages:
            examples.append(_conversation(record, columns.messages, where))
            continue
        for field in (columns.prompt, columns.response):
            if not isinstance(record.get(field), str):
                found = ", ".join(sorted(map(str, record))) or "nothing"
                raise FusionError(
                    f"{where}: column {field!r} is missing or not text (found: {found}); "
                    "name the columns with --data.prompt, --data.response or --data.messages"
                )
        if not record[columns.response] and not columns.drop_bad:
            raise FusionError(f"{where}: the response is empty; drop the line or use --data.drop_bad true")
        task, log_prob = str(record.get("task") or ""), record.get("log_prob")
        examples.append(Example(record[columns.prompt], record[columns.response], task, log_prob))
    if not examples:
        raise FusionError(f"{path} holds no examples")
    return examples


def _conversation(record: dict[str, Any], column: str, where: str) -> Example:
    messages = record.get(column)
    good = (
        isinstance(messages, (list, tuple))
        and len(messages) >= 2
        and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in messages)
    )
    if not good or not messages:
        raise FusionError(
            f"{where}: column {column!r} is not a conversation; expected a list of at least two "
            "objects with role and content"
        )
    turns = tuple((str(m.get("role")), m["content"]) for m in messages)
    if turns[-1][0] != "assistant":
        raise FusionError(f"{where}: the last message is by {turns[-1][0]!r}; expected the assistant's answer")
    return Example("", turns[-1][1], str(record.get("task") or ""), None, turns[:-1])


def _records(path: str | Path) -> Iterator[tuple[int, Any]]:
    name = str(path)
    if not name.endswith((".jsonl", ".json", ".parquet")):
        yield from enumerate(_hub(name), 1)
        return
    if not Path(path).is_file():
        raise FusionError(f"data file {path} does not exist; give the path of a .jsonl or .parquet file")
    if name.endswith(".parquet"):
        import pyarrow
        import pyarrow.parquet

        try:
            yield from enumerate(pyarrow.parquet.read_table(path).to_pylist(), 1)
        except pyarrow.ArrowInvalid as problem:
            raise FusionError(f"{path} is not a parquet file ({str(problem).splitlines()[0]})") from None
        return
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                except UnicodeDecodeError as problem:
                    raise FusionError(
                        f"{path}, line {number}: not UTF-8 (byte {problem.start + 1} of the line); save the file as "
                        "UTF-8, for instance: iconv -f latin1 -t utf-8"
                    ) from None
                except json.JSONDecodeError as problem:
                    raise FusionError(f"{path}, line {number}: not JSON ({problem.msg})") from None


def _hub(name: str) -> Any:
    from datasets import load_dataset

    data_set, _, split = name.partition(":")
    try:
        return load_dataset(data_set, split=split or "train")
    except Exception as problem:  # the library raises many kinds, all of them mean: not to be had
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise FusionError(
            f"data set {data_set!r} cannot be loaded ({first[:160]}); give a .jsonl or .parquet file, or a data set "
            "name of the Hugging Face hub"
        ) from None
