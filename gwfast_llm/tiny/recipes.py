"""Recipes of what the embedded default builds; the hash of a recipe names the built model in the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from gwfast_llm.tiny.tasks import ALL_TASKS


@dataclass(frozen=True)
class TokenizerRecipe:
    """A byte-pair tokenizer trained on the tasks.

    Attributes
    ----------
    pattern : str
        Regular expression of the pieces inside which pairs may merge.
    vocab_size : int
        Number of tokens V, padding included.
    tasks : str
        Tasks whose texts it is trained on.
    """

    pattern: str
    vocab_size: int
    tasks: str


@dataclass(frozen=True)
class Phase:
    """A stretch of training on fresh problems: tasks, number of steps, learning rate, seed of the draw."""

    tasks: str
    steps: int
    lr: float
    seed: int


@dataclass(frozen=True)
class ModelRecipe:
    """A model trained from random weights.

    Attributes
    ----------
    name : str
        Short name, for people.
    architecture : {"llama", "qwen2"}
        Model class.
    hidden_size, layers : int
        Width and depth.
    tokenizer : TokenizerRecipe
        Its own tokenizer.
    phases : tuple of Phase
        Training, in order.
    seed : int
        Seed of the initial weights.
    expert_of : str
        Tasks it is meant to master, for the report.
    batch_size : int
        Problems a step.
    """

    name: str
    architecture: str
    hidden_size: int
    layers: int
    tokenizer: TokenizerRecipe
    phases: tuple[Phase, ...]
    seed: int
    expert_of: str
    batch_size: int = 32

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def fingerprint(self) -> str:
        """Hash of the recipe and of the code that draws the tasks and trains: changing either builds anew."""
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode())
        for name in ("tasks.py", "build.py"):
            digest.update((Path(__file__).parent / name).read_bytes())
        return digest.hexdigest()[:16]


# Words are single tokens that carry their leading space.
WHOLE_WORDS = TokenizerRecipe(r" ?[k-zi]+| ?[^ ]| ", 150, ALL_TASKS)
# Few tokens: the space stands alone and words are cut into syllables.
SYLLABLES = TokenizerRecipe(r"[k-zi]+|.", 70, ALL_TASKS)
# The pivot's own, in between.
PIVOT_PIECES = TokenizerRecipe(r" ?[k-zi]+|.", 110, ALL_TASKS)


def sources(scale: float = 1.0) -> tuple[ModelRecipe, ModelRecipe]:
    """Recipes of the two experts; `scale` shrinks their training for a smoke run."""

    def steps(n: int) -> int:
        return max(1, round(n * scale))

    # Arithmetic modulo 5 is learnt in a sudden step, which is why A is trained on in a second phase.
    first = ModelRecipe(
        name="A",
        architecture="llama",
        hidden_size=96,
        layers=3,
        tokenizer=WHOLE_WORDS,
        phases=(Phase("MAB", steps(700), 3e-3, 1), Phase("MAAAB", steps(500), 2e-3, 21)),
        seed=1,
        expert_of="MAB",
    )
    second = ModelRecipe(
        name="B",
        architecture="qwen2",
        hidden_size=112,
        layers=3,
        tokenizer=SYLLABLES,
        phases=(Phase("NDSL", steps(700), 3e-3, 2),),
        seed=2,
        expert_of="NDSL",
    )
    return first, second


def pivot(scale: float = 1.0) -> ModelRecipe:
    """Recipe of the weaker model into which the experts are fused: a little of everything, mostly dialect O."""
    return ModelRecipe(
        name="pivot",
        architecture="llama",
        hidden_size=96,
        layers=3,
        tokenizer=PIVOT_PIECES,
        phases=(Phase(ALL_TASKS + "OOO", max(1, round(200 * scale)), 3e-3, 3),),
        seed=3,
        expert_of="O",
    )
