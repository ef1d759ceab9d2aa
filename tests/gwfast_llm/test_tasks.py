import math
import random
from itertools import pairwise

import numpy as np
import pytest

from gwfast_llm.tiny.tasks import (
    ALL_TASKS,
    EXACT_TASKS,
    GENERATORS,
    LEXICON,
    TEXT_TASKS,
    TRANSITIONS,
    WORDS_PER_TEXT,
    draw_each,
)


def test_the_draw_is_a_function_of_the_seed():
    assert draw_each(ALL_TASKS, 5, seed=3) == draw_each(ALL_TASKS, 5, seed=3)
    assert draw_each(ALL_TASKS, 5, seed=3) != draw_each(ALL_TASKS, 5, seed=4)


def test_problems_to_avoid_do_not_come_back():
    used = draw_each("BL", 60, seed=0)
    texts = {p.prompt + p.response for p in used}
    fresh = draw_each("BL", 60, seed=0, avoid=used)
    assert not texts & {p.prompt + p.response for p in fresh}


def test_a_task_without_problems_left_is_an_error():
    every = draw_each("L", 5000, seed=0)
    with pytest.raises(RuntimeError, match="task L"):
        draw_each("L", 1, seed=1, avoid=every)


@pytest.mark.parametrize("letter", TEXT_TASKS)
def test_log_probability_of_a_text_is_that_of_its_chain(letter):
    problem = GENERATORS[letter](random.Random(5))
    words = [problem.prompt[2:-1], *problem.response[:-1].split()]
    index = [LEXICON.index(w) for w in words]
    expected = sum(math.log(TRANSITIONS[letter][a, b]) for a, b in pairwise(index))
    assert problem.log_prob == pytest.approx(expected, abs=1e-12)
    assert len(words) == WORDS_PER_TEXT + 1


def test_mean_log_probability_is_near_the_entropy():
    # entropy of a row under uniform start; 3 standard errors of 400 texts are about 0.1
    for letter in TEXT_TASKS:
        texts = draw_each(letter, 400, seed=0)
        table = TRANSITIONS[letter]
        state, entropy = np.full(len(table), 1 / len(table)), 0.0
        row = -(table * np.log(np.maximum(table, 1e-300))).sum(1)
        for _ in range(WORDS_PER_TEXT):
            entropy += state @ row
            state = state @ table
        mean = -np.mean([t.log_prob for t in texts])
        assert mean / WORDS_PER_TEXT == pytest.approx(entropy / WORDS_PER_TEXT, abs=0.1)


def check_arithmetic(p):
    total = 0
    text = "+" + p.prompt[2:-1]
    for sign, digit in zip(text[::2], text[1::2], strict=True):
        total = (total + int(digit) if sign == "+" else total - int(digit)) % 5
    return p.response.endswith(f">{total}.")


def check_boolean(p):
    text, value = p.prompt[2:-1], p.prompt[2] == "T"
    for sign, name in zip(text[1::2], text[2::2], strict=True):
        other = name == "T"
        value = {"&": value & other, "|": value | other, "^": value ^ other}[sign]
    return p.response.endswith(f">{'T' if value else 'F'}.")


def check_brackets(p):
    stack, closing = [], {"(": ")", "[": "]", "{": "}"}
    for c in p.prompt[2:-1] + p.response[1:-1]:
        if c in closing:
            stack.append(closing[c])
        elif not stack or stack.pop() != c:
            return False
    return not stack


def check_sorting(p):
    return p.response == " " + "".join(sorted(p.prompt[2:-1])) + "."


def check_liars(p):
    value = p.prompt[2] == "T"
    for sign in p.prompt[3:-1]:
        value = value if sign == "=" else not value
    return p.response.endswith(f">{'T' if value else 'F'}.")


@pytest.mark.parametrize(
    ("letter", "check"),
    [
        ("A", check_arithmetic),
        ("B", check_boolean),
        ("D", check_brackets),
        ("S", check_sorting),
        ("L", check_liars),
    ],
)
def test_answers_are_right(letter, check):
    problems = draw_each(letter, 100, seed=2)
    assert letter in EXACT_TASKS
    assert all(check(p) for p in problems)
    assert all(p.log_prob is None for p in problems)
