"""A classifier for one's own images: a folder with one sub-folder per class.

The net is small on purpose: it has to learn from hundreds of images and to run on a small device.
Its size follows from the images' size, so that the last convolution sees a grid of 4 to 7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.specs import OutputSpec
from edgeward.train.datasets import image_folder
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.image_folder import ImageFolder
from edgeward.train.datasets.split import Shares
from edgeward.train.parts.common import image_input
from edgeward.train.recipe import ClassHyperparameters, Recipe, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "ImageFolderNet"]

_CHANNELS = ("auto", "gray", "rgb")
_MOST_FILTERS = 128


@dataclass(frozen=True)
class ImageFolderNet(ClassHyperparameters):
    """Defaults for some hundred to some ten thousand images."""

    epochs: int = parameter(30, "passes over the training split")
    batch_size: int = parameter(32, "samples per step, over all devices together")
    learning_rate: float = parameter(5e-3, "peak of the one-cycle schedule")
    size: int = parameter(64, "side in pixels to which every image is made")
    channels: str = parameter("auto", "gray or rgb; auto is gray if no image has color")
    filters: int = parameter(16, "filters of the first convolution; each further one doubles them")
    dropout: float = parameter(0.2, "share of features dropped before the last layer")
    rotation: float = parameter(0.05, "augmentation: rotate by up to this part of a full turn")
    zoom: float = parameter(0.1, "augmentation: zoom by up to this part")
    translation: float = parameter(0.1, "augmentation: shift by up to this part of the side")
    flip: bool = parameter(False, "augmentation: mirror left and right; not for text or digits")
    group: str = parameter("", "no group in two splits: folder (CLASS/GROUP/file), or a pattern")
    validation: float = parameter(0.1, "part of each class that validates")
    test: float = parameter(0.2, "part of each class that tests")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(8 <= self.size <= 512, "size", "a whole number of 8..512")
        self.require(self.channels in _CHANNELS, "channels", ", ".join(_CHANNELS))
        self.require(1 <= self.filters <= _MOST_FILTERS, "filters", f"1..{_MOST_FILTERS}")
        for name in ("dropout", "rotation", "zoom", "translation"):
            self.require(0 <= getattr(self, name) < 1, name, "a number of 0..1, below 1")
        Shares(self.validation, self.test)


def load(path: Path | None, hyper: ImageFolderNet, say: Say) -> ImageFolder:
    """Load the folder."""
    shares = Shares(hyper.validation, hyper.test)
    return image_folder.load(path, hyper.size, hyper.channels, shares, say, hyper.group)


def specialise(dataset: Dataset, hyper: ImageFolderNet) -> Recipe:
    """Fit the recipe to the folder's classes and to the images' size and channels."""
    if not isinstance(dataset, ImageFolder):
        raise InvalidDataError("This is no folder of images.", received=dataset.name)
    channels, labels = dataset.channels, dataset.labels
    return replace(
        RECIPE,
        build=lambda chosen: build(chosen, channels, len(labels)),
        inputs={"image": image_input(hyper.size, channels)},
        outputs={"label": OutputSpec("classification", labels=labels)},
    )


def build(hyper: ImageFolderNet, channels: int = 3, classes: int = 2) -> keras.Model:
    """Make the untrained model: float32 [N, size, size, C] to float32 [N, classes]."""
    import keras
    from keras import layers

    image = keras.Input((hyper.size, hyper.size, channels), name="image")
    x, side, filters = image, hyper.size, hyper.filters
    while True:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        # Keras' momentum of 0.99 wants some hundred steps; a folder of 200 images has 7 an epoch.
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
        if side < 8:
            break
        x = layers.MaxPooling2D(2)(x)
        side, filters = side // 2, min(2 * filters, _MOST_FILTERS)
    x = layers.Flatten()(x)
    x = layers.Dropout(hyper.dropout)(x)
    # float32 also under mixed precision: a softmax in half precision costs accuracy.
    label = layers.Dense(classes, activation="softmax", dtype="float32", name="label")(x)
    return keras.Model(image, label, name="image_folder")


def augment(hyper: ImageFolderNet) -> keras.Layer | None:
    """Make the layer that turns, zooms and shifts training images at random."""
    import keras
    from keras import layers

    chosen: list[keras.Layer] = []
    if hyper.flip:
        chosen.append(layers.RandomFlip("horizontal"))
    if hyper.rotation:
        chosen.append(layers.RandomRotation(hyper.rotation, fill_mode="nearest"))
    if hyper.zoom:
        chosen.append(layers.RandomZoom(hyper.zoom, fill_mode="nearest"))
    if hyper.translation:
        by = hyper.translation
        chosen.append(layers.RandomTranslation(by, by, fill_mode="nearest"))
    return keras.Sequential(chosen) if chosen else None


RECIPE = Recipe(
    name="image_folder",
    title="your own images: --data DIR with one sub-folder per class",
    dataset=image_folder.NAME,
    load=load,
    build=build,
    specialise=specialise,
    augment=augment,
    inputs={"image": image_input(64, 3)},
    outputs={"label": OutputSpec("classification")},
    hyperparameters=ImageFolderNet(),
    expected={},
    budget=0.01,
    data_parameters=("size", "channels", "group", "validation", "test"),
    space={
        "learning_rate": ("log", 5e-4, 1e-2),
        "filters": ("int", 8, 32),
        "dropout": ("float", 0.0, 0.5),
    },
)
