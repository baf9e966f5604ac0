"""The smallest net that people still call deep: one hidden layer on handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeward.runtime.specs import OutputSpec
from edgeward.train.datasets import mnist
from edgeward.train.parts.common import image_input
from edgeward.train.recipe import ClassHyperparameters, Recipe, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "MnistMlp"]


@dataclass(frozen=True)
class MnistMlp(ClassHyperparameters):
    """Defaults chosen on the validation split (the last 6,000 training images) alone."""

    epochs: int = parameter(8, "passes over the training split")
    batch_size: int = parameter(128, "samples per step, over all devices together")
    learning_rate: float = parameter(4e-3, "peak of the one-cycle schedule")
    units: int = parameter(128, "neurons of the hidden layer")
    shift: int = parameter(1, "training images are shifted by up to so many pixels; 0 is none")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.units >= 1, "units", "a whole number >= 1")
        self.require(0 <= self.shift <= 8, "shift", "a whole number of 0..8")


def build(hyper: MnistMlp) -> keras.Model:
    """Make the untrained model: float32 [N, 28, 28, 1] of 0..1 to float32 [N, 10] probabilities."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1), name="image")
    x = layers.Flatten()(image)
    x = layers.Dense(hyper.units, activation="relu")(x)
    # float32 also under mixed precision: a softmax in half precision costs accuracy.
    digit = layers.Dense(10, activation="softmax", dtype="float32", name="digit")(x)
    return keras.Model(image, digit, name="mnist_mlp")


RECIPE = Recipe(
    name="mnist_mlp",
    title="one hidden layer for handwritten digits (Flatten, Dense 128, Dense 10)",
    dataset=mnist.NAME,
    load=lambda path, _hyper, say: mnist.load(path, say),
    build=build,
    inputs={"image": image_input(28, 1)},
    outputs={"digit": OutputSpec("classification", labels=tuple("0123456789"))},
    hyperparameters=MnistMlp(),
    expected={"accuracy": 0.977},
    budget=0.002,
    weights=101_770,
    seconds=15,
    data_parameters=(),
    shift="shift",
    space={
        "learning_rate": ("log", 5e-4, 1e-2),
        "units": ("int", 32, 256),
        "shift": ("choice", 0, 1, 2),
    },
)
