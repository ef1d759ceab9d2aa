"""Problems of reasoning-gym: procedural tasks with one right answer, in sets that share no problem."""

from __future__ import annotations

import importlib
from typing import Any

from gwfast_llm.text.examples import Example

TASKS: dict[str, dict[str, Any]] = {
    "chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
    "gcd": {"max_numbers": 2, "max_value": 60},
    "spell_backward": {"min_word_len": 3, "max_word_len": 5},
    "lcm": {"max_numbers": 2, "max_value": 20},
    "family_relationships": {},
}


def drawn(seed: int, each: int, avoid: set[str]) -> list[Example]:
    """So many problems of every task, none of which is in `avoid`, to which they are added."""
    try:
        reasoning_gym: Any = importlib.import_module("reasoning_gym")
    except ImportError:
        raise SystemExit("real_fusion: reasoning-gym is not installed; pip install 'gwfast-ot[real]'") from None
    found = []
    for task, options in TASKS.items():
        source = reasoning_gym.create_dataset(task, size=20 * each, seed=seed, **options)
        own: list[Example] = []
        for k in range(len(source)):
            question, answer = source[k]["question"].strip(), str(source[k]["answer"]).strip()
            if question not in avoid and len(own) < each:
                avoid.add(question)
                own.append(Example(question, answer, task))
        if len(own) < each:
            raise SystemExit(f"real_fusion: reasoning-gym gives only {len(own)} of {each} problems of {task}")
        found += own
    return found
