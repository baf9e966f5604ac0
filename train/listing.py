"""``python -m train --list``: what each recipe is, for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeward.runtime.console import print_json
from edgeward.train.arguments import COMMON
from edgeward.train.recipe import Recipe

__all__ = ["list_recipes"]


def list_recipes(recipes: Sequence[Recipe], as_json: bool) -> None:
    """Print recipe, task, data set, parameters, expected metric and time of each recipe."""
    if as_json:
        print_json({"recipes": {recipe.name: _describe(recipe) for recipe in recipes}})
        return
    for recipe in recipes:
        print(f"{recipe.name}: {recipe.title}")
        print(f"  task: {recipe.tasks or 'as the data say'}    data set: {recipe.dataset}")
        weights = "as the data say" if recipe.weights is None else f"{recipe.weights:,}"
        time = "unknown" if recipe.seconds is None else f"about {recipe.seconds:.0f} s on two cores"
        print(f"  weights: {weights}    time: {time}")
        for name, value in recipe.expected.items():
            bound = "<=" if name == "rmse" else ">="
            print(
                f"  expected on the test split: {name} {bound} {value}"
                f"    drift budget: {recipe.budget}"
            )
        defaults, texts = recipe.hyperparameters.to_json(), recipe.hyperparameters.explain()
        for name, value in defaults.items():
            option = COMMON.get(name, f"--set {name}=")
            print(f"  {option:<16} {value!s:<8} {texts[name]}")


def _describe(recipe: Recipe) -> dict[str, Any]:
    return {
        "title": recipe.title,
        "task": recipe.tasks,
        "dataset": recipe.dataset,
        "hyperparameters": recipe.hyperparameters.to_json(),
        "expected": dict(recipe.expected),
        "budget": recipe.budget,
        "weights": recipe.weights,
        "seconds": recipe.seconds,
    }
