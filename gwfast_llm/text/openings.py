"""What stands before an answer: the rule for prompts that open or close a block of thoughts.

A generation prompt is what a model is given when it is to answer.  What its template writes before an answer that is
already there may be more (an empty block of thoughts, the name of a channel) or less (no opened block of thoughts).
The rule: an answer without thoughts is learnt behind what the template writes before such an answer; an answer that
holds the end of a thought is learnt behind the generation prompt, of which the mark that the answer itself begins with
is taken off.
"""

from __future__ import annotations

import re
from typing import Any

from gwfast_llm.text.conversations import as_messages
from gwfast_llm.text.special_tokens import ANSWER
from gwfast_llm.text.templates import TemplateError, render
from gwfast_llm.text.unwritten import parsed

_OPEN = re.compile(r"[<\[]/?(?:think\w*|thought\w*|reason\w*)[>\]]\s*\Z", re.IGNORECASE)
_CLOSED = re.compile(r"[<\[]/(?:think\w*|thought\w*|reason\w*)[>\]]", re.IGNORECASE)


def opened(tokenizer: Any, messages: Any, tools: str, response: str, date: str) -> str:
    """Prompt of a conversation, as it stands before this answer.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        With its chat template.
    messages : sequence of Turn
        The conversation before the answer.
    tools : str
        Its tools as JSON, or empty.
    response : str
        The answer.
    date : str
        Date that templates print.

    Raises
    ------
    TemplateError
        When the template refuses the conversation.
    """
    turns, given = as_messages(messages), parsed(tools)
    if not _CLOSED.search(response):
        try:
            answered = [*turns, {"role": "assistant", "content": ANSWER}]
            before, found, _ = render(tokenizer, answered, prompt=False, tools=given, date=date).rpartition(ANSWER)
        except TemplateError:
            found = ""
        if found:
            return before
    prompt = render(tokenizer, turns, tools=given, date=date)
    last = _OPEN.search(prompt)
    if last and response.lstrip().startswith(last[0].strip()):
        return prompt[: last.start()]
    return prompt
