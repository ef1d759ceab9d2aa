"""An OpenAI-compatible server asked for the log-probabilities of prompts, with retries.

Asked is ``/v1/completions``: with vLLM's ``prompt_logprobs``, else with ``echo`` and ``logprobs``.  Prompts are sent as
token ids; where a server takes text only, as text, and the tokens that it says are compared.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from gwfast_llm.system.errors import FusionError, one_line
from gwfast_llm.teachers.served.answers import Entry, NoAnswer, Scored, read_entries
from gwfast_llm.text.examples import Encoded

TRIES, FIRST_WAIT, LONGEST_WAIT, TIMEOUT = 6, 1.0, 30.0, 600.0
KEY = "OPENAI_API_KEY"
_MOST = re.compile(r"(?:max|most|less than or equal to)[^0-9]{0,40}([0-9]+)", re.IGNORECASE)


class Server:
    """Prompts scored by a server.

    Parameters
    ----------
    url : str
        Its address, up to ``/v1``.
    model : str
        Name of the model there.
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's.
    keep : int
        Log-probabilities asked for a token.
    wait : float
        Seconds before the second try; each further wait is twice as long.
    """

    def __init__(self, url: str, model: str, tokenizer: Any, keep: int, wait: float = FIRST_WAIT):
        self._url = url.rstrip("/").removesuffix("/completions") + "/completions"
        self._model = model
        self._tokenizer = tokenizer
        self._keep = keep
        self._wait = wait
        self._way: tuple[str, bool] | None = None
        self._words: dict[str, int] | None = None

    def scored(self, rows: Sequence[Encoded]) -> list[Scored]:
        """Score prompts; the first call finds out how this server is asked.

        Raises
        ------
        FusionError
            When the server cannot be reached, or gives no log-probabilities of prompts.
        """
        if self._way is None:
            self._way = self._found_way(rows[0])
        return self._asked(rows, *self._way)

    def _found_way(self, row: Encoded) -> tuple[str, bool]:
        reasons = []
        for way in (("prompt_logprobs", True), ("echo", True), ("echo", False)):
            try:
                (found,) = self._asked([row], *way)
                if any(entry for entry in found.entries):
                    return way
                reasons.append("no log-probabilities of the prompt came back")
            except NoAnswer as problem:
                reasons.append(str(problem))
        allowed = [int(n) for why in reasons for n in _MOST.findall(why) if int(n) < self._keep]
        if allowed:
            raise FusionError(
                f"the server {self._url} allows {max(allowed)} log-probabilities a token, objective.source_top_k is "
                f"{self._keep}; use --objective.source_top_k {max(allowed)}, or let the server give more "
                f"(--max-logprobs {self._keep} of vLLM)"
            )
        tried = zip(("prompt_logprobs", "echo with token ids", "echo with text"), reasons)
        raise FusionError(
            f"the server {self._url} gives no log-probabilities of prompts: "
            + "; ".join(f"{what}: {why}" for what, why in tried)
        )

    def _asked(self, rows: Sequence[Encoded], way: str, as_ids: bool) -> list[Scored]:
        prompts = [list(row.ids) if as_ids else self._text(row) for row in rows]
        body: dict[str, Any] = {"model": self._model, "prompt": prompts, "max_tokens": 1, "temperature": 0}
        if way == "prompt_logprobs":
            body |= {"prompt_logprobs": self._keep, "return_token_ids": True, "add_special_tokens": False}
        else:
            body |= {"echo": True, "logprobs": self._keep, "return_tokens_as_token_ids": True}
        choices = self._post(body).get("choices")
        if not isinstance(choices, list) or len(choices) != len(rows):
            raise NoAnswer(f"{len(rows)} prompts were sent and {len(choices or [])} answers came back")
        if all(isinstance(choice.get("index"), int) for choice in choices):
            choices = sorted(choices, key=lambda choice: choice["index"])
        read = self._prompt_logprobs if way == "prompt_logprobs" else self._echoed
        return [read(choice, row) for choice, row in zip(choices, rows)]

    def _text(self, row: Encoded) -> str:
        return self._tokenizer.decode(row.ids, clean_up_tokenization_spaces=False)

    def _prompt_logprobs(self, choice: dict[str, Any], row: Encoded) -> Scored:
        if not choice.get("prompt_logprobs"):
            raise NoAnswer("the answer holds no prompt_logprobs")
        return Scored(read_entries(choice["prompt_logprobs"]), choice.get("prompt_token_ids"))

    def _echoed(self, choice: dict[str, Any], row: Encoded) -> Scored:
        found = choice.get("logprobs") or {}
        tokens, own, tops = (found.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
        if not tokens or not own or not tops:
            raise NoAnswer("the answer holds no echoed tokens with logprobs and top_logprobs")
        bos = self._tokenizer.bos_token_id
        more = _extra(tokens, row, [self._id(token) for token in tokens], bos)
        length = len(row.ids) + more  # what was generated is cut off
        if len(tokens) < length:
            raise NoAnswer(f"{len(tokens)} tokens came back for a prompt of {len(row.ids)}")
        ids = [self._id(token) for token in tokens[:length]]
        expected = ([bos] * more + list(row.ids)) if more > 0 else list(row.ids)[-more:]
        entries: list[Entry | None] = []
        for place in range(length):
            written = self._tokenizer.decode([expected[place]], clean_up_tokenization_spaces=False)
            if ids[place] != expected[place] and tokens[place] != written:
                raise NoAnswer(
                    f"token {place} came back as {tokens[place]!r}; the tokenizer of the configuration cuts another"
                )
            entry = {i: float(v) for t, v in (tops[place] or {}).items() if (i := self._id(t)) is not None}
            if own[place] is not None and not math.isnan(own[place]):
                entry[expected[place]] = float(own[place])
            entries.append(entry or None)
        return Scored(entries, expected, partial=not tokens[0].startswith("token_id:"))

    def _id(self, token: str) -> int | None:
        """Id of a token as a server writes it; None where several tokens are written so."""
        if token.startswith("token_id:"):
            return int(token.removeprefix("token_id:"))
        if self._words is None:
            words: dict[str, list[int]] = {}
            for i in sorted(set(self._tokenizer.get_vocab().values())):
                words.setdefault(self._tokenizer.decode([i], clean_up_tokenization_spaces=False), []).append(i)
            self._words = {word: ids[0] for word, ids in words.items() if len(ids) == 1}
        return self._words.get(token)

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request, again after a while where the server is away or busy."""
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        sent = json.dumps(body).encode()
        why = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(min(LONGEST_WAIT, self._wait * 2 ** (attempt - 1)))
            try:
                request = urllib.request.Request(self._url, sent, headers)
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    found = json.loads(answer.read())
                if isinstance(found, dict):
                    return found
                why = "it sent no object"
            except urllib.error.HTTPError as problem:
                why = one_line(problem.read().decode(errors="replace"))[:200] or str(problem.reason)
                if problem.code < 500 and problem.code not in (408, 409, 425, 429):
                    raise NoAnswer(f"refused ({problem.code}: {why})") from None
            except (OSError, ValueError) as problem:
                why = one_line(str(getattr(problem, "reason", problem)))[:200]
        raise FusionError(
            f"the server {self._url} did not answer in {TRIES} tries ({why}); what is cached so far is kept: start it "
            "and run the same command again"
        )


def _extra(tokens: Sequence[str], row: Encoded, ids: Sequence[int | None], bos: int | None) -> int:
    """Tokens that the server put before the prompt (1), left out (-1), or neither."""
    if bos is None:
        return 0
    own = row.ids[0] == bos
    if ids[0] == bos:
        return 0 if own and (len(row.ids) < 2 or ids[1] != bos) else 1
    return -1 if own and len(tokens) < len(row.ids) + 1 else 0
