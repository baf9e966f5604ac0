"""A small CNN for photographs of clothes, which are harder to tell apart than digits.

Three convolutions with batch normalisation, which conversion folds into them. Clothes may be
mirrored, digits may not: hence the flip, which digits' recipes lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeward.runtime.specs import OutputSpec
from edgeward.train.datasets import fashion
from edgeward.train.parts.common import image_input, quick_adam, smoothed_loss
from edgeward.train.recipe import ClassHyperparameters, Recipe, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "FashionCnn"]


@dataclass(frozen=True)
class FashionCnn(ClassHyperparameters):
    """Defaults chosen on the validation split (the last 6,000 training images) alone."""

    epochs: int = parameter(8, "passes over the training split")
    batch_size: int = parameter(128, "samples per step, over all devices together")
    learning_rate: float = parameter(6e-3, "peak of the one-cycle schedule")
    filters: int = parameter(16, "filters of the first convolution; each further one doubles them")
    units: int = parameter(96, "neurons of the hidden layer")
    dropout: float = parameter(0.2, "share of neurons dropped in training")
    shift: int = parameter(1, "training images are shifted by up to so many pixels; 0 is none")
    flip: bool = parameter(True, "half of the training images are mirrored left and right")
    smoothing: float = parameter(0.1, "share of the target spread over all classes")
    beta2: float = parameter(0.99, "decay of Adam's mean of squares: short memory, short training")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.filters >= 1, "filters", "a whole number >= 1")
        self.require(self.units >= 1, "units", "a whole number >= 1")
        self.require(0 <= self.dropout < 1, "dropout", "a number of 0..1, below 1")
        self.require(0 <= self.shift <= 8, "shift", "a whole number of 0..8")


def build(hyper: FashionCnn) -> keras.Model:
    """Make the untrained model: float32 [N, 28, 28, 1] of 0..1 to float32 [N, 10] probabilities."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1), name="image")
    x = image
    for block in range(3):
        x = layers.Conv2D(hyper.filters << block, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        if block < 2:
            x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(hyper.units, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(hyper.dropout)(x)
    # float32 also under mixed precision: a softmax in half precision costs accuracy.
    garment = layers.Dense(10, activation="softmax", dtype="float32", name="garment")(x)
    return keras.Model(image, garment, name="fashion_cnn")


def augment(hyper: FashionCnn) -> keras.Layer | None:
    """Make the layer that mirrors training images at random."""
    from keras import layers

    return layers.RandomFlip("horizontal") if hyper.flip else None


RECIPE = Recipe(
    name="fashion_cnn",
    title="small CNN for photographs of clothes (three Conv 3x3, Dense 96, batch normalisation)",
    dataset=fashion.NAME,
    load=lambda path, _hyper, say: fashion.load(path, say),
    build=build,
    augment=augment,
    loss=smoothed_loss(10),
    optimizer=quick_adam,
    inputs={"image": image_input(28, 1)},
    outputs={"garment": OutputSpec("classification", labels=fashion.LABELS)},
    hyperparameters=FashionCnn(),
    expected={"accuracy": 0.92},
    budget=0.005,
    weights=326_042,
    seconds=120,
    data_parameters=(),
    shift="shift",
    space={
        "learning_rate": ("log", 1e-3, 2e-2),
        "filters": ("int", 8, 32),
        "dropout": ("float", 0.0, 0.5),
        "smoothing": ("float", 0.0, 0.2),
    },
)
