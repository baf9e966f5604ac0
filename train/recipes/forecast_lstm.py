"""An LSTM that forecasts next year's sunspots from the years before.

The smallest honest example of a time series: the split is chronological, the model sees a window
of the past, and the yardstick is a forecast that costs nothing (the value one solar cycle ago).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine
from edgeward.train.datasets import sunspots
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.sunspots import SunspotDataset
from edgeward.train.recipe import Hyperparameters, Recipe, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "ForecastLstm", "naive_errors"]


@dataclass(frozen=True)
class ForecastLstm(Hyperparameters):
    """Defaults chosen on the validation split (1880 to 1929) alone."""

    epochs: int = parameter(15, "passes over the training split")
    batch_size: int = parameter(16, "samples per step, over all devices together")
    learning_rate: float = parameter(1e-2, "peak of the one-cycle schedule")
    window: int = parameter(22, "years that the model sees, at least 11")
    units: int = parameter(32, "size of the LSTM's state")
    headroom: float = parameter(0.5, "training windows come once more, larger by this part; 0: no")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.window >= sunspots.CYCLE, "window", f"at least {sunspots.CYCLE}")
        self.require(self.units >= 1, "units", "a whole number >= 1")
        self.require(0 <= self.headroom <= 10, "headroom", "a number of 0..10")


def load(path: Path | None, hyper: ForecastLstm, say: Say) -> SunspotDataset:
    """Load the series, cut into windows."""
    return sunspots.load(path, hyper.window, hyper.headroom, say)


def specialise(dataset: Dataset, hyper: ForecastLstm) -> Recipe:
    """Fit the scaling to the training years."""
    if not isinstance(dataset, SunspotDataset):
        raise InvalidDataError("These are no sunspots.", received=dataset.name)
    mean, deviation = dataset.mean, dataset.deviation
    standardise = Affine(1 / deviation, -mean / deviation)
    return replace(
        RECIPE,
        inputs={"years": InputSpec("tensor", "float32", (hyper.window, 1), (standardise,))},
        outputs={"next": OutputSpec("regression", postprocessing=(Affine(deviation, mean),))},
    )


def build(hyper: ForecastLstm) -> keras.Model:
    """Make the untrained model: float32 [N, window, 1] to float32 [N, 1], both standardised."""
    import keras
    from keras import layers

    years = keras.Input((hyper.window, 1), name="years")
    x = layers.LSTM(hyper.units)(years)
    # float32 also under mixed precision: a forecast has more digits than a half.
    following = layers.Dense(1, dtype="float32", name="next")(x)
    return keras.Model(years, following, name="forecast_lstm")


def evaluate(
    _model: keras.Model, dataset: Dataset, _hyper: ForecastLstm
) -> Mapping[str, Mapping[str, float]]:
    """Return what forecasts without a model reach, per split."""
    return {
        name: naive_errors(np.asarray(split.inputs["years"]), split.targets["next"])
        for name, split in dataset.splits.items()
    }


def naive_errors(windows: Array, targets: Array) -> dict[str, float]:
    """Return the RMSE of two forecasts that only copy.

    Args:
        windows: float32 [N, window, 1], window >= 11.
        targets: float32 [N, 1].

    Returns:
        ``seasonal_naive_rmse``: the value 11 years before the one asked for; ``naive_rmse``: the
        value of the year before it.
    """
    back = {"seasonal_naive_rmse": sunspots.CYCLE, "naive_rmse": 1}
    wanted = targets[:, 0].astype(np.float64)
    return {
        name: float(np.sqrt(np.square(windows[:, -years, 0] - wanted).mean()))
        for name, years in back.items()
    }


RECIPE = Recipe(
    name="forecast_lstm",
    title="next year's sunspots from the years before (LSTM 32, Dense 1)",
    dataset=sunspots.NAME,
    load=load,
    build=build,
    specialise=specialise,
    evaluate=evaluate,
    # The scaling stands here for --list alone: specialise puts the training years' in its place.
    inputs={"years": InputSpec("tensor", "float32", (22, 1), (Affine(1.0, 0.0),))},
    outputs={"next": OutputSpec("regression", postprocessing=(Affine(1.0, 0.0),))},
    hyperparameters=ForecastLstm(),
    expected={"rmse": 18.0},
    budget=0.05,
    weights=4_385,
    seconds=5,
    data_parameters=("window", "headroom"),
    space={
        "learning_rate": ("log", 1e-3, 3e-2),
        "window": ("choice", 11, 22, 33),
        "units": ("int", 8, 64),
    },
)
