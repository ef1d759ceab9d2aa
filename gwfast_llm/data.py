"""Examples, and what a tokenizer makes of them: ids, labels and the byte at which every answer token ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import torch

from gwfast_llm.align import byte_ends, vocabulary_bytes
from gwfast_llm.errors import FusionError

IGNORE = -100


@dataclass(frozen=True)
class Example:
    """A prompt and the answer to be learnt, as text.

    Attributes
    ----------
    prompt, response : str
        The response follows the prompt directly.
    task : str
        Group for the report, may be empty.
    log_prob : float or None
        True log-probability (nats) of the response where it is known.
    """

    prompt: str
    response: str
    task: str = ""
    log_prob: float | None = None


@dataclass(frozen=True)
class Encoded:
    """An example under one tokenizer.

    Attributes
    ----------
    ids : list of int
        Prompt tokens, then answer tokens (L of them in all).
    prompt_length : int
        Number of prompt tokens, at least 1.
    ends : list of int
        Byte of the answer at which each answer token ends (see `gwfast_llm.align`).
    """

    ids: list[int]
    prompt_length: int
    ends: list[int]

    @property
    def answer(self) -> list[int]:
        """Ids of the answer tokens."""
        return self.ids[self.prompt_length :]

    @property
    def labels(self) -> list[int]:
        """Ids where the token belongs to the answer, `IGNORE` on the prompt."""
        return [IGNORE] * self.prompt_length + self.answer


_SPELLING: WeakKeyDictionary = WeakKeyDictionary()


def spelling(tokenizer) -> list[bytes | None]:
    """`gwfast_llm.align.vocabulary_bytes` of a tokenizer, computed once."""
    if tokenizer not in _SPELLING:
        _SPELLING[tokenizer] = vocabulary_bytes(tokenizer)
    return _SPELLING[tokenizer]


def encode_all(
    examples: Sequence[Example], tokenizer, max_length: int | None = None, end_token: int | None = None
) -> list[Encoded]:
    """Tokenize examples, prompt and answer apart so that no token straddles the border.

    Parameters
    ----------
    examples : sequence of Example
        What to tokenize.
    tokenizer : transformers.PreTrainedTokenizerFast
        A fast tokenizer (one that reports offsets).
    max_length : int, optional
        Answers are cut so that no more than this many tokens remain in all.
    end_token : int, optional
        Token that closes every answer; none by default.

    Returns
    -------
    list of Encoded
        In the order of `examples`.

    Raises
    ------
    FusionError
        When the tokenizer has no offsets, a prompt is empty of tokens or an answer is.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise FusionError(
            f"tokenizer {getattr(tokenizer, 'name_or_path', '')!r} reports no character offsets; a fast tokenizer "
            "(tokenizer.json) is needed to align it with another: convert it with transformers' from_slow=True"
        )
    if not examples:
        return []
    prompts = tokenizer([e.prompt for e in examples], add_special_tokens=True)["input_ids"]
    answers = tokenizer([e.response for e in examples], add_special_tokens=False, return_offsets_mapping=True)
    table = spelling(tokenizer)
    rows = []
    for k, example in enumerate(examples):
        prompt = list(prompts[k])
        while (
            prompt and prompt[-1] == tokenizer.eos_token_id and not example.prompt.endswith(tokenizer.eos_token or "\0")
        ):
            prompt.pop()  # a tokenizer that closes every text would close the prompt before its answer
        ids = list(answers["input_ids"][k])
        if not prompt:
            raise FusionError(
                f"example {k}: the prompt has no tokens and the tokenizer adds none in front; "
                "the first answer token needs something before it: give a prompt or a tokenizer with BOS"
            )
        if not ids:
            raise FusionError(f"example {k}: the answer is empty; drop it or give an answer")
        ends = byte_ends(example.response, answers["offset_mapping"][k], [table[i] for i in ids])
        if end_token is not None:
            ids.append(end_token)
            ends.append(len(example.response.encode()) + 1)
        if max_length is not None and len(prompt) + len(ids) > max_length:
            keep = max(max_length - len(prompt), 0)
            ids, ends = ids[:keep], ends[:keep]
            if not ids:
                raise FusionError(
                    f"example {k}: the prompt alone has {len(prompt)} tokens, max_length is {max_length}; "
                    "raise max_length or drop the example"
                )
        rows.append(Encoded(prompt + ids, len(prompt), ends))
    return rows


def encode(example: Example, tokenizer) -> Encoded:
    """Tokenize one example; see `encode_all`."""
    return encode_all([example], tokenizer)[0]


def pad_right(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Stack rows of different length into an integer tensor (B, L), filled up with `value` on the right."""
    length = max(len(row) for row in rows)
    return torch.tensor([[*row, *([value] * (length - len(row)))] for row in rows], dtype=torch.long)


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as JSON lines with the fields prompt, response, task, log_prob."""
    lines = (
        json.dumps({"prompt": e.prompt, "response": e.response, "task": e.task, "log_prob": e.log_prob})
        for e in examples
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_examples(path: str | Path) -> list[Example]:
    """Read examples from a JSON lines file with at least the fields prompt and response.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    list of Example

    Raises
    ------
    FusionError
        Naming the file, the line and the field when something is missing, empty or not text.
    """
    path = Path(path)
    if not path.is_file():
        raise FusionError(f"data file {path} does not exist; give the path of a JSON lines file")
    examples = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as problem:
                raise FusionError(f"{path}, line {number}: not JSON ({problem.msg})") from None
            if not isinstance(record, dict):
                raise FusionError(f"{path}, line {number}: expected an object with prompt and response")
            for field in ("prompt", "response"):
                if not isinstance(record.get(field), str):
                    found = ", ".join(sorted(record)) or "nothing"
                    raise FusionError(f"{path}, line {number}: field {field!r} is missing or not text (found: {found})")
            if not record["response"]:
                raise FusionError(f"{path}, line {number}: the response is empty; drop the line")
            examples.append(
                Example(record["prompt"], record["response"], str(record.get("task") or ""), record.get("log_prob"))
            )
    if not examples:
        raise FusionError(f"{path} holds no examples")
    return examples
