"""The space of a search: what a recipe lets vary, checked before anything is trained.

Neither TensorFlow nor Optuna is needed here: a mistake is said at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any

from edgeward.runtime.errors import EdgewardError, UsageError
from edgeward.train.cluster import worker_from_environment
from edgeward.train.recipe import Hyperparameters, Recipe, override

__all__ = ["Space", "check_search", "contains", "read_space", "refuse_generation", "tidy"]

# Hyper-parameter -> ("log", low, high), ("float", low, high), ("int", low, high) or
# ("choice", value, ...), as a recipe declares it.
Space = Mapping[str, tuple[Any, ...]]

_EXAMPLE = 'space={"learning_rate": ("log", 1e-4, 1e-2), "units": ("int", 32, 256)}'

_KINDS = "('log', low, high), ('float', low, high), ('int', low, high) or ('choice', value, ...)"

# Enough to tell values apart, and short enough to be typed again.
_DIGITS = 4


def check_search(count: int, folds: int | None) -> None:
    """Check what was asked for beside the recipe.

    Args:
        count: Number of trials.
        folds: Number of folds, or None.

    Raises:
        UsageError: It makes no sense.
    """
    if count < 1:
        raise UsageError("--tune is wrong.", received=count, expected="a whole number >= 1")
    if folds is not None:
        raise UsageError(
            "A search judges on the validation split, folds on parts of it and the training split.",
            received="--tune with --folds",
            fix="one after the other: --tune, then --folds with the values that it found",
        )
    if worker_from_environment() is not None:
        raise UsageError(
            "A search runs on one machine.", received="TF_CONFIG is set", fix="unset TF_CONFIG"
        )


def read_space(recipe: Recipe, hyper: Hyperparameters, fixed: Set[str]) -> Space:
    """Return what is to be searched.

    Args:
        recipe: Declares the space.
        hyper: Values of what is not searched.
        fixed: Hyper-parameters that people typed: they stay as they are.

    Raises:
        UsageError: The recipe has no space, everything in it is fixed, or an entry is wrong.
    """
    refuse_generation(recipe)
    if not recipe.space:
        raise UsageError(
            f"{recipe.name} does not say what a search may try.",
            received="a recipe without space",
            fix=f"Recipe(..., {_EXAMPLE})",
        )
    defaults = hyper.to_json()
    space: dict[str, tuple[Any, ...]] = {}
    for name, entry in recipe.space.items():
        if name not in defaults:
            raise _wrong(name, entry, f"a hyper-parameter of {recipe.name}: {', '.join(defaults)}")
        if not isinstance(entry, tuple | list) or not entry:
            raise _wrong(name, entry, _KINDS)
        space[name] = _check_entry(name, tuple(entry), defaults[name])
        _try_ends(name, space[name], hyper)
    searched = {name: entry for name, entry in space.items() if name not in fixed}
    if not searched:
        raise UsageError(
            "There is nothing left to search.",
            received=f"fixed: {', '.join(sorted(fixed))}",
            expected=f"at least one of {', '.join(space)} free",
            fix="leave one of these options out",
        )
    return searched


def refuse_generation(recipe: Recipe) -> None:
    """Raise UsageError for a recipe whose task has no metric of the validation split."""
    if "generation" in recipe.tasks:
        raise UsageError(
            "A search needs a metric of the validation split.",
            received=f"{recipe.name}, task generation",
            expected="a recipe for classification, binary or regression",
        )


def contains(space: Space, values: Mapping[str, Any]) -> bool:
    """Tell whether the values lie in the space."""
    return all(
        values[name] in entry[1:] if entry[0] == "choice" else entry[1] <= values[name] <= entry[2]
        for name, entry in space.items()
    )


def tidy(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Round sampled numbers to what people type, within the space; the order is the space's."""
    result = {}
    for name, (kind, *ends) in space.items():
        value = values[name]
        if kind in ("log", "float"):
            value = min(max(float(f"{value:.{_DIGITS}g}"), ends[0]), ends[1])
        result[name] = value
    return result


def _check_entry(name: str, entry: tuple[Any, ...], default: Any) -> tuple[Any, ...]:
    kind, *values = entry
    if kind == "choice":
        return (kind, *_check_choice(name, entry, default))
    if kind not in ("log", "float", "int"):
        raise _wrong(name, entry, _KINDS)
    # bool is an int to Python, and no number to people.
    wanted: tuple[type, ...] = (int,) if kind == "int" else (int, float)
    if type(default) is not (int if kind == "int" else float):
        proper = {int: "'int' or 'choice'", float: "'log', 'float' or 'choice'"}
        raise _wrong(name, entry, f"{proper.get(type(default), repr('choice'))} for {default!r}")
    if len(values) != 2 or not all(type(v) in wanted and math.isfinite(v) for v in values):
        raise _wrong(name, entry, f"two {'whole ' if kind == 'int' else ''}numbers, low and high")
    low, high = (type(default)(value) for value in values)
    if low >= high:
        raise _wrong(name, entry, "low < high")
    if kind == "log" and low <= 0:
        raise _wrong(name, entry, "0 < low: there is no logarithm of the rest")
    return kind, low, high


def _check_choice(name: str, entry: tuple[Any, ...], default: Any) -> list[Any]:
    # 0 among fractions is 0.0.
    values = [float(v) if type(default) is float and type(v) is int else v for v in entry[1:]]
    if not all(type(value) is type(default) for value in values):
        raise _wrong(name, entry, f"values of type {type(default).__name__}, such as {default!r}")
    if len(values) < 2 or len(set(values)) < len(values):
        raise _wrong(name, entry, "at least two values, all different")
    return values


def _try_ends(name: str, entry: tuple[Any, ...], hyper: Hyperparameters) -> None:
    for value in entry[1:]:
        try:
            override(hyper, {name: value})
        except EdgewardError as error:
            raise _wrong(name, entry, error.expected or error.message) from None


def _wrong(name: str, entry: object, expected: object) -> UsageError:
    return UsageError(
        f"The space of {name!r} is wrong.",
        received=f"{name}: {entry!r}",
        expected=expected,
        fix="the recipe's space",
    )
