"""A small dense net for one's own table: a CSV file and the column to predict.

Features are brought to mean 0 and deviation 1 by a step of the bundle, with the numbers of the
training split: the device takes the columns as they are in the file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine
from edgeward.train.datasets import table
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.split import Shares
from edgeward.train.datasets.table import Scaling, Table
from edgeward.train.recipe import ClassHyperparameters, Recipe, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "TableNet"]


@dataclass(frozen=True)
class TableNet(ClassHyperparameters):
    """Defaults for some hundred to some ten thousand rows."""

    epochs: int = parameter(60, "passes over the training split")
    batch_size: int = parameter(16, "samples per step, over all devices together")
    learning_rate: float = parameter(5e-3, "peak of the one-cycle schedule")
    target: str = parameter("", "name of the column to predict (required)")
    ignore: str = parameter("", "names of columns to leave out, with commas between them")
    group: str = parameter("", "name of the column of which no value is in two splits")
    task: str = parameter("auto", "classification, regression, or auto: by the target's values")
    units: int = parameter(64, "neurons of each of the two hidden layers")
    dropout: float = parameter(0.0, "share of neurons dropped in training")
    validation: float = parameter(0.15, "part of the rows that validates")
    test: float = parameter(0.25, "part of the rows that tests")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.task in table.TASKS, "task", ", ".join(table.TASKS))
        self.require(self.units >= 1, "units", "a whole number >= 1")
        self.require(0 <= self.dropout < 1, "dropout", "a number of 0..1, below 1")
        Shares(self.validation, self.test)


def load(path: Path | None, hyper: TableNet, say: Say) -> Table:
    """Load the table."""
    shares = Shares(hyper.validation, hyper.test)
    return table.load(path, hyper.target, hyper.ignore, hyper.task, shares, say, hyper.group)


def specialise(dataset: Dataset, _hyper: TableNet) -> Recipe:
    """Fit the recipe to the table's columns, classes and scales."""
    if not isinstance(dataset, Table):
        raise InvalidDataError("This is no table.", received=dataset.name)
    count, labels, target = len(dataset.columns), dataset.labels, dataset.target
    classes = len(labels) if labels else 0
    fitted = replace(
        RECIPE,
        build=lambda hyper: build(hyper, count, classes),
        inputs={"features": _input(dataset.features)},
    )
    if target is None:
        return replace(fitted, outputs={"target": OutputSpec("classification", labels=labels)})
    # The model works with numbers of order 1, whatever the unit of the target is.
    back = (Affine(target.deviation[0], target.mean[0]),)
    return replace(
        fitted,
        outputs={"target": OutputSpec("regression", postprocessing=back)},
        # Of a regression the drift is the growth of the error, as a part of it.
        budget=0.05,
    )


def build(hyper: TableNet, features: int = 1, classes: int = 0) -> keras.Model:
    """Make the untrained model: float32 [N, features] to [N, classes], or [N, 1] for 0 classes."""
    import keras
    from keras import layers

    columns = keras.Input((features,), name="features")
    x = columns
    for _ in range(2):
        x = layers.Dense(hyper.units, activation="relu")(x)
        x = layers.Dropout(hyper.dropout)(x)
    # float32 also under mixed precision: a softmax in half precision costs accuracy.
    if classes:
        target = layers.Dense(classes, activation="softmax", dtype="float32", name="target")(x)
    else:
        target = layers.Dense(1, dtype="float32", name="target")(x)
    return keras.Model(columns, target, name="table")


def _input(scaling: Scaling) -> InputSpec:
    scale = tuple(1 / deviation for deviation in scaling.deviation)
    offset = tuple(-m / d for m, d in zip(scaling.mean, scaling.deviation, strict=True))
    return InputSpec("tensor", "float32", (len(scale),), (Affine(scale, offset),))


RECIPE = Recipe(
    name="table",
    title="your own table: --data FILE.csv --set target=COLUMN, all other columns are numbers",
    dataset=table.NAME,
    load=load,
    build=build,
    specialise=specialise,
    inputs={"features": InputSpec("tensor", "float32", (None,), ())},
    outputs={"target": OutputSpec("classification")},
    hyperparameters=TableNet(),
    expected={},
    budget=0.01,
    data_parameters=("target", "ignore", "group", "task", "validation", "test"),
    space={
        "learning_rate": ("log", 5e-4, 2e-2),
        "units": ("int", 8, 128),
        "dropout": ("float", 0.0, 0.4),
    },
)
