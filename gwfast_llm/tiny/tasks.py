"""Small tasks with known answers: stochastic dialects of known entropy, and reasoning by written steps.

The first letter of a prompt names its task.  ``M``, ``N``, ``O`` are dialects: order-1 Markov chains over one
lexicon, so the true log-probability of every text is known.  ``A`` is arithmetic modulo 5, ``B`` boolean
expressions, ``D`` closing brackets, ``S`` sorting letters, ``L`` chains of truth-tellers and liars.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

TEXT_TASKS = "MNO"
FUSED_TEXTS = "MN"  # dialects of the sources; O is the pivot's own and shows what it forgets
EXACT_TASKS = "ABDSL"
ALL_TASKS = "MNOABDSL"
WORDS_PER_TEXT = 9  # predicted words of a dialect text: ten words, the first is given


@dataclass(frozen=True)
class Problem:
    """One prompt with its answer.

    Attributes
    ----------
    task : str
        Letter of the task.
    prompt, response : str
        The response follows the prompt directly; it starts with a space and ends with a full stop where the
        task has one.
    log_prob : float or None
        True log-probability (nats) of the response given the prompt for a stochastic task, None where the answer
        is determined by the prompt.
    """

    task: str
    prompt: str
    response: str
    log_prob: float | None = None


def _lexicon(size: int = 40) -> list[str]:
    draw = np.random.RandomState(7)
    words: list[str] = []
    while len(words) < size:
        syllables = draw.choice([1, 2, 2, 3])
        word = "".join(draw.choice(list("klmnprstvz")) + draw.choice(list("iouy")) for _ in range(syllables))
        if word not in words:
            words.append(word)
    return words


LEXICON = _lexicon()
TRANSITIONS = {
    dialect: np.random.RandomState(100 + i).dirichlet(np.full(len(LEXICON), 0.12), len(LEXICON))
    for i, dialect in enumerate(TEXT_TASKS)
}


def _dialect(letter: str) -> Callable[[random.Random], Problem]:
    table = TRANSITIONS[letter]
    cumulative = table.cumsum(1)
    last = len(LEXICON) - 1

    def draw(rng: random.Random) -> Problem:
        walk = [rng.randrange(len(LEXICON))]
        for _ in range(WORDS_PER_TEXT):
            walk.append(min(last, int(np.searchsorted(cumulative[walk[-1]], rng.random()))))
        log_prob = sum(math.log(table[a, b]) for a, b in pairwise(walk))
        text = "".join(" " + LEXICON[w] for w in walk[1:]) + "."
        return Problem(letter, f"{letter} {LEXICON[walk[0]]}:", text, log_prob)

    return draw


def _arithmetic(rng: random.Random) -> Problem:
    count = rng.randint(3, 4)
    numbers = [rng.randint(0, 4) for _ in range(count)]
    signs = [rng.choice("+-") for _ in range(count - 1)]
    steps, value = [], numbers[0]
    for sign, number in zip(signs, numbers[1:]):
        result = (value + number if sign == "+" else value - number) % 5
        steps.append(f"{value}{sign}{number}={result}")
        value = result
    question = str(numbers[0]) + "".join(s + str(x) for s, x in zip(signs, numbers[1:]))
    return Problem("A", f"A {question}:", " " + " ".join(steps) + f" >{value}.")


def _boolean(rng: random.Random) -> Problem:
    count = rng.randint(3, 5)
    names = [rng.choice("TF") for _ in range(count)]
    signs = [rng.choice("&|^") for _ in range(count - 1)]
    steps, value = [], names[0] == "T"
    for sign, name in zip(signs, names[1:]):
        other = name == "T"
        result = {"&": value and other, "|": value or other, "^": value != other}[sign]
        steps.append(f"{'FT'[value]}{sign}{name}={'FT'[result]}")
        value = result
    question = names[0] + "".join(s + x for s, x in zip(signs, names[1:]))
    return Problem("B", f"B {question}:", " " + " ".join(steps) + f" >{'FT'[value]}.")


def _brackets(rng: random.Random) -> Problem:
    opening, closing = "([{", ")]}"
    stack: list[int] = []
    text = ""
    for _ in range(rng.randint(4, 8)):
        if stack and rng.random() < 0.4:
            text += closing[stack.pop()]
        else:
            kind = rng.randrange(3)
            stack.append(kind)
            text += opening[kind]
    return Problem("D", f"D {text}:", " " + "".join(closing[k] for k in reversed(stack)) + ".")


def _sorting(rng: random.Random) -> Problem:
    letters = [rng.choice("abcdefgh") for _ in range(rng.randint(3, 6))]
    return Problem("S", f"S {''.join(letters)}:", " " + "".join(sorted(letters)) + ".")


def _liars(rng: random.Random) -> Problem:
    length = rng.randint(3, 5)
    value = rng.random() < 0.5
    question, steps = "FT"[value], []
    for _ in range(length):
        lies = rng.random() < 0.5
        before, value = value, value != lies
        question += "~" if lies else "="
        steps.append(f"{'FT'[before]}{'~' if lies else '='}{'FT'[value]}")
    return Problem("L", f"L {question}:", " " + " ".join(steps) + f" >{'FT'[value]}.")


GENERATORS: dict[str, Callable[[random.Random], Problem]] = {
    "M": _dialect("M"),
    "N": _dialect("N"),
    "O": _dialect("O"),
    "A": _arithmetic,
    "B": _boolean,
    "D": _brackets,
    "S": _sorting,
    "L": _liars,
}


def stream(tasks: str, rng: random.Random) -> Iterator[Problem]:
    """Draw problems for ever, each from a task letter picked uniformly from `tasks` (repeats weigh more)."""
    while True:
        yield GENERATORS[rng.choice(tasks)](rng)


def draw_each(tasks: str, count: int, seed: int, avoid: Iterable[Problem] = ()) -> list[Problem]:
    """Draw `count` problems of every task, skipping any whose whole text is in `avoid`.

    Parameters
    ----------
    tasks : str
        Letters of the tasks, in the order of the result.
    count : int
        Problems a task.
    seed : int
        The draw is a function of the seed alone.
    avoid : iterable of Problem
        Problems that must not come back: what was trained on, when the draw is for testing.

    Returns
    -------
    list of Problem
        ``len(tasks) * count`` problems, task by task.

    Raises
    ------
    RuntimeError
        When a task has no problems left outside `avoid`.

    Examples
    --------
    >>> [p.prompt + p.response for p in draw_each("S", 1, seed=0)]
    ['S gaehge: aeeggh.']
    """
    rng = random.Random(seed)
    seen = {p.prompt + p.response for p in avoid}
    problems: list[Problem] = []
    for task in tasks:
        kept = tries = 0
        while kept < count:
            problem = GENERATORS[task](rng)
            tries += 1
            if problem.prompt + problem.response not in seen:
                problems.append(problem)
                kept += 1
            elif tries > 1000 * count:
                raise RuntimeError(f"task {task} has no problems outside the ones to avoid")
    return problems
