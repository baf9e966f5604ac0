"""The recipes by name. Adding one: a module here with a constant ``RECIPE``, and its name below."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

from edgeward.runtime.errors import UsageError
from edgeward.train.recipe import Recipe
from edgeward.train.recipes.user_recipe import load_user_recipe

__all__ = ["NAMES", "load_recipe"]

NAMES = (
    "mnist_mlp",
    "mnist_cnn",
    "mnist_edge",
    "fashion_cnn",
    "text_lstm",
    "forecast_lstm",
    "mnist_gan",
    "image_folder",
    "table",
)


def load_recipe(name: str) -> Recipe:
    """Return the recipe of this name; only its own module is imported.

    Args:
        name: One of ``NAMES``, or the path of a user's file, which ends in ``.py``.

    Raises:
        UsageError: There is none, or the user's file is wrong.
    """
    if name.endswith(".py"):
        return load_user_recipe(Path(name))
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, 1)
        raise UsageError(
            "There is no such recipe.",
            received=name,
            expected=", ".join(NAMES),
            fix=f"python -m train {close[0]}" if close else "python -m train --list",
        )
    recipe: Recipe = importlib.import_module(f"edgeward.train.recipes.{name}").RECIPE
    return recipe
