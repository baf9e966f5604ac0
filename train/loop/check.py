"""A recipe's model, checked before it is trained; its errors with the line that raised them."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import keras

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import EdgewardError, InvalidModelError, UsageError
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.loop.scoring import Scorer
from edgeward.train.recipe import Recipe

__all__ = ["blaming", "check_balance", "check_model"]

_Made = TypeVar("_Made")


def check_balance(recipe: Recipe, balance: str) -> None:
    """Check that there are classes to balance, and that the loop has a hand in it.

    Raises:
        UsageError: No classes, or a learner of the recipe's own.
    """
    if recipe.tasks not in ("classification", "binary") or recipe.learner is not None:
        raise UsageError(
            "There are no classes to balance.",
            received=f"balance={balance}, task {recipe.tasks}"
            + (", a learner of its own" if recipe.learner is not None else ""),
            expected="one output of the task classification or binary, trained by the loop",
            fix="--set balance=none",
        )


def check_model(model: keras.Model, scorer: Scorer, dataset: Dataset) -> None:
    """Check names and shapes of a model against what the recipe and its data set say.

    Args:
        model: As exported.
        scorer: Of the recipe.
        dataset: Already checked.

    Raises:
        InvalidModelError: Names the input or output, both shapes and the fix.
    """
    _check_names([tensor.name for tensor in model.inputs], [scorer.input_name], "input")
    names = [name for name in model.output_names if name is not None]
    _check_names(names, [scorer.output_name], "output")
    sample = scorer.tensors(dataset.train.take([0]))[0]
    wanted = tuple(model.inputs[0].shape[1:])
    fits = len(wanted) == sample.ndim and all(
        want is None or want == have for want, have in zip(wanted, sample.shape, strict=True)
    )
    if not fits:
        raise InvalidModelError(
            f"The model's input {scorer.input_name!r} does not fit the preprocessed samples.",
            received=f"samples {list(sample.shape)}",
            expected=f"what the model takes: {list(wanted)}",
            fix="change the input layer, or the recipe's preprocessing",
        )
    _check_output(tuple(model.outputs[0].shape[1:]), scorer, scorer.targets(dataset.train))


def _check_names(received: list[str], expected: list[str], what: str) -> None:
    if received != expected:
        raise InvalidModelError(
            f"The model's {what}s are not those of the recipe.",
            received=", ".join(received),
            expected=", ".join(expected),
            fix=f"keras.Input(..., name={expected[0]!r})"
            if what == "input"
            else f"name={expected[0]!r} for the last layer",
        )


def _check_output(shape: tuple[int | None, ...], scorer: Scorer, targets: Array) -> None:
    """Compare the model's output [N, *shape] with the labels, or with the targets."""
    spec, name = scorer.output, scorer.output_name
    if spec.task == "classification":
        count = int(targets.max()) + 1 if spec.labels is None else len(spec.labels)
        fits = len(shape) == 1 and shape[0] is not None and shape[0] >= count
        fits = fits and (spec.labels is None or shape[0] == count)
        expected, fix = f"[{count}]: one value per class", f"Dense({count}) as the last layer"
    elif spec.task == "binary":
        fits, expected, fix = shape == (1,), "[1]: one probability", "Dense(1) as the last layer"
    elif targets[0].size:
        wanted = targets.shape[1:] if targets.ndim > 1 else (1,)
        known = None not in shape
        fits = shape == wanted if known else True
        fits = fits or (known and spec.task == "generation" and _size(shape) == targets[0].size)
        expected = f"{list(wanted)}: the shape of a target"
        fix = "change the last layer, or the targets"
    else:
        return
    if not fits:
        raise InvalidModelError(
            f"The model's output {name!r} does not fit the task {spec.task!r}.",
            received=list(shape),
            expected=expected,
            fix=fix,
        )


def _size(shape: tuple[int | None, ...]) -> int:
    return math.prod(dimension or 0 for dimension in shape)


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
