"""The textbook network for handwritten digits: one convolution and one hidden layer.

It is the net of most introductions to Keras, hence the one that people bring; 692,352 of its
693,962 weights sit in the hidden layer, so int8 makes it four times smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine, Grayscale, ResizeBilinear
from edgeward.train.datasets import mnist
from edgeward.train.recipe import ClassHyperparameters, Recipe, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "MnistCnn"]


@dataclass(frozen=True)
class MnistCnn(ClassHyperparameters):
    """Defaults chosen on the validation split (the last 6,000 training images) alone."""

    epochs: int = parameter(5, "passes over the training split")
    batch_size: int = parameter(128, "samples per step, over all devices together")
    learning_rate: float = parameter(2e-3, "peak of the one-cycle schedule")
    filters: int = parameter(32, "filters of the convolution")
    units: int = parameter(128, "neurons of the hidden layer")
    shift: int = parameter(1, "training images are shifted by up to so many pixels; 0 is none")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.filters >= 1, "filters", "a whole number >= 1")
        self.require(self.units >= 1, "units", "a whole number >= 1")
        self.require(0 <= self.shift <= 8, "shift", "a whole number of 0..8")


def build(hyper: MnistCnn) -> keras.Model:
    """Make the untrained model: float32 [N, 28, 28, 1] of 0..1 to float32 [N, 10] probabilities."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1), name="image")
    x = layers.Conv2D(hyper.filters, 3, activation="relu")(image)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(hyper.units, activation="relu")(x)
    # float32 also under mixed precision: a softmax in half precision costs accuracy.
    digit = layers.Dense(10, activation="softmax", dtype="float32", name="digit")(x)
    return keras.Model(image, digit, name="mnist_cnn")


RECIPE = Recipe(
    name="mnist_cnn",
    title="textbook CNN for handwritten digits (Conv 32, MaxPool, Dense 128, Dense 10)",
    dataset=mnist.NAME,
    load=lambda path, _hyper, say: mnist.load(path, say),
    build=build,
    inputs={
        "image": InputSpec(
            kind="image",
            dtype="uint8",
            shape=(None, None, None),
            preprocessing=(Grayscale(), ResizeBilinear(28, 28), Affine(1 / 255, 0.0)),
        )
    },
    outputs={"digit": OutputSpec("classification", labels=tuple("0123456789"))},
    hyperparameters=MnistCnn(),
    expected={"accuracy": 0.987},
    budget=0.002,
    weights=693_962,
    seconds=45,
    data_parameters=(),
    shift="shift",
    space={
        "learning_rate": ("log", 3e-4, 1e-2),
        "units": ("int", 32, 256),
        "shift": ("choice", 0, 1, 2),
    },
)
