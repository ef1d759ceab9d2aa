"""What the pivot writes to a few fixed prompts before the first step and after the last, for the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from gwfast_llm.models.writing import written
from gwfast_llm.text.examples import prompt_text
from gwfast_llm.text.special_tokens import stop_tokens
from gwfast_llm.training.observers import spread
from gwfast_llm.training.prepare import Prepared

LONGEST = 48  # tokens of an answer
KEY = "written"


@dataclass(frozen=True)
class Sample:
    """One prompt and what was written after it.

    Attributes
    ----------
    prompt, answer : str
        Of the example.
    before, after : str
        What the pivot wrote before the first step and after the last.
    """

    prompt: str
    answer: str
    before: str
    after: str


def chosen(prepared: Prepared) -> list[int]:
    """Numbers of the examples: held-out ones where there are some, none where the model is spread over processes."""
    size, rows = prepared.data.size, len(prepared.rows)
    numbers = range(size, rows) if rows > size else range(size)
    count = 0 if prepared.sharded else prepared.config.train.samples
    return spread(numbers, count) if count else []


def texts(model: Any, prepared: Prepared, numbers: list[int]) -> list[str] | None:
    """Answers of the pivot, greedily; None where the model cannot write."""
    tokenizer = prepared.tokenizer
    prompts = [row.ids[: row.prompt_length] for row in (prepared.rows[i] for i in numbers)]
    stops = stop_tokens(tokenizer, any(prepared.data.examples[i].messages for i in numbers))
    try:
        found = written(model, prompts, stops, LONGEST, tokenizer.pad_token_id or 0)
    except Exception:  # a model of its own code need not be able to; a report is no reason to end a run
        return None
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in found]


class SampleCallback(TrainerCallback):
    """Keeps what the pivot writes before the first step in the log history, where a resumed run finds it again.

    Parameters
    ----------
    prepared : Prepared
        The run.
    numbers : list of int
        Examples.
    """

    def __init__(self, prepared: Prepared, numbers: list[int]):
        self._prepared = prepared
        self._numbers = numbers

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Write, in the first process alone."""
        if state.global_step == 0 and state.is_world_process_zero:
            found = texts(model, self._prepared, self._numbers)
            if found is not None:
                state.log_history.append({"step": 0, KEY: found})


def samples_of(trained: Any, prepared: Prepared, numbers: list[int], history: list[dict[str, Any]]) -> list[Sample]:
    """Before and after side by side; none where one of the two is not known."""
    before = next((row[KEY] for row in history if KEY in row), None)
    after = texts(trained, prepared, numbers) if before is not None else None
    if before is None or after is None:
        return []
    examples = [prepared.data.examples[i] for i in numbers]
    prompts = [e.messages[-1][1] if e.messages else prompt_text(e, prepared.tokenizer) for e in examples]
    return [Sample(p, e.response, b, a) for p, e, b, a in zip(prompts, examples, before, after)]
