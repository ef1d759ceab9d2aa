"""The models of the fusion experiments: those of the embedded default and the ones its claims need for comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gwfast_llm.tiny import recipes
from gwfast_llm.tiny.build import build_model
from gwfast_llm.tiny.recipes import ModelRecipe, Phase
from gwfast_llm.tiny.tasks import ALL_TASKS


def all_recipes(scale: float = 1.0) -> dict[str, ModelRecipe]:
    """Recipes by name.

    Parameters
    ----------
    scale : float
        Share of the full training, for tests.

    Returns
    -------
    dict
        `A`, `B` the two experts; `C` a third one, whose tasks overlap with theirs; `Ap`, `Bp` the experts with the
        pivot's tokenizer and the same training, for the ceiling; `pivot`; `middle` and `strong`, the pivot trained on.
    """
    first, second = recipes.sources(scale)
    weak = recipes.pivot(scale)
    third = ModelRecipe(
        name="C",
        architecture="qwen2",
        hidden_size=96,
        layers=3,
        tokenizer=recipes.WHOLE_WORDS,
        phases=(Phase("MNDS", max(1, round(700 * scale)), 3e-3, 5),),
        seed=5,
        expert_of="MNDS",
    )

    def longer(name: str, steps: int) -> ModelRecipe:
        more = Phase(ALL_TASKS, max(1, round(steps * scale)), 2e-3, 33)
        return dataclasses.replace(weak, name=name, phases=(*weak.phases, more), expert_of=ALL_TASKS)

    return {
        "pivot": weak,
        "A": first,
        "B": second,
        "Ap": dataclasses.replace(first, name="Ap", tokenizer=recipes.PIVOT_PIECES),
        "Bp": dataclasses.replace(second, name="Bp", tokenizer=recipes.PIVOT_PIECES),
        "middle": longer("middle", 150),
        "strong": longer("strong", 500),
        "C": third,
    }


def built(name: str) -> Path:
    """Folder of a model, trained now where the cache does not hold it (up to two minutes)."""
    return build_model(all_recipes()[name])


def main(names: Sequence[str] = ()) -> None:
    """Build all models, or those named."""
    for name in names or all_recipes():
        print(name, built(name), flush=True)


if __name__ == "__main__":
    main()
