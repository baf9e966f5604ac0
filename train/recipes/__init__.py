"""The recipes by name. Adding one: a module here with a constant ``RECIPE``, and its name below."""

from __future__ import annotations

import difflib
import importlib

from runtime.errors import UsageError
from train.recipe import Recipe

__all__ = ["NAMES", "load_recipe"]

NAMES = ("mnist_cnn",)


def load_recipe(name: str) -> Recipe:
    """Return the recipe of this name; only its own module is imported.

    Raises:
        UsageError: There is none.
    """
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, 1)
        raise UsageError(
            "There is no such recipe.",
            received=name,
            expected=", ".join(NAMES),
            fix=f"python -m train {close[0]}" if close else "python -m train --list",
        )
    recipe: Recipe = importlib.import_module(f"train.recipes.{name}").RECIPE
    return recipe
