"""The digit classifier that one would really ship: an eighth of the textbook CNN, and better.

Strided convolutions instead of pooling, so that the full-size feature map is never made; batch
normalisation, which conversion folds into the weights before it, so that it costs nothing on the
device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeward.runtime.specs import OutputSpec
from edgeward.train.datasets import mnist
from edgeward.train.parts.common import image_input, quick_adam, smoothed_loss
from edgeward.train.recipe import ClassHyperparameters, Recipe, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "MnistEdge"]


@dataclass(frozen=True)
class MnistEdge(ClassHyperparameters):
    """Defaults chosen on the validation split (the last 6,000 training images) alone."""

    epochs: int = parameter(8, "passes over the training split")
    batch_size: int = parameter(128, "samples per step, over all devices together")
    learning_rate: float = parameter(1e-2, "peak of the one-cycle schedule")
    filters: int = parameter(16, "filters of the first convolution; the second has twice as many")
    units: int = parameter(128, "neurons of the hidden layer")
    shift: int = parameter(1, "training images are shifted by up to so many pixels; 0 is none")
    smoothing: float = parameter(0.1, "share of the target spread over all classes")
    beta2: float = parameter(0.99, "decay of Adam's mean of squares: short memory, short training")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.filters >= 1, "filters", "a whole number >= 1")
        self.require(self.units >= 1, "units", "a whole number >= 1")
        self.require(0 <= self.shift <= 8, "shift", "a whole number of 0..8")


def build(hyper: MnistEdge) -> keras.Model:
    """Make the untrained model: float32 [N, 28, 28, 1] of 0..1 to float32 [N, 10] probabilities."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1), name="image")
    x = image
    for filters in (hyper.filters, 2 * hyper.filters):
        x = layers.Conv2D(filters, 5, strides=2, use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(hyper.units, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    # float32 also under mixed precision: a softmax in half precision costs accuracy.
    digit = layers.Dense(10, activation="softmax", dtype="float32", name="digit")(x)
    return keras.Model(image, digit, name="mnist_edge")


RECIPE = Recipe(
    name="mnist_edge",
    title="the digit CNN to ship (two strided Conv 5x5, Dense 128, batch normalisation)",
    dataset=mnist.NAME,
    load=lambda path, _hyper, say: mnist.load(path, say),
    build=build,
    loss=smoothed_loss(10),
    optimizer=quick_adam,
    inputs={"image": image_input(28, 1)},
    outputs={"digit": OutputSpec("classification", labels=tuple("0123456789"))},
    hyperparameters=MnistEdge(),
    expected={"accuracy": 0.994},
    budget=0.001,
    weights=80_730,
    seconds=35,
    data_parameters=(),
    shift="shift",
    space={
        "learning_rate": ("log", 2e-3, 3e-2),
        "units": ("int", 32, 128),
        "smoothing": ("float", 0.0, 0.2),
        "beta2": ("choice", 0.99, 0.999),
    },
)
