"""An error inside a recipe's own function, said with the line that raised it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from runtime.errors import EdgewardError, InvalidModelError
from train.recipe import Recipe

__all__ = ["blaming"]

_Made = TypeVar("_Made")


def blaming(recipe: Recipe, make: Callable[[], _Made]) -> _Made:
    """Return ``make()``; an error of Keras inside it becomes one about the recipe's line."""
    try:
        return make()
    except EdgewardError:
        raise
    except Exception as error:  # whatever a recipe, and Keras below it, can raise
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "keras" not in frame.filename] or frames
        lines = str(error).strip().splitlines() or [""]
        raise InvalidModelError(
            f"The model of {recipe.name} cannot be built.",
            received=f"{type(error).__name__}: {lines[0]}",
            fix=f"{Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line}",
        ) from error
