"""How far generated samples are from real ones: distance of their features, and their classes.

The features are those of a small classifier that is trained on the real samples. Inception's, the
usual ones, know photographs and not digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from edgeward.runtime.arrays import Array

__all__ = ["Judge", "frechet_distance", "train_judge"]

_FEATURES = 64

_BATCH = 500


@dataclass(frozen=True)
class Judge:
    """A classifier that looks at images.

    Args:
        features: Model of float32 images to features [N, 64].
        classes: Model of those features to class probabilities.
    """

    features: keras.Model
    classes: keras.Model

    def look(self, images: Array) -> tuple[Array, Array]:
        """Return features, float32 [N, 64], and class indices, int64 [N], of float32 images."""
        features = np.concatenate(
            [
                np.asarray(self.features(images[first : first + _BATCH]))
                for first in range(0, len(images), _BATCH)
            ]
        )
        return features, np.asarray(self.classes(features)).argmax(axis=1)


def train_judge(images: Array, classes: Array, *, epochs: int, seed: int) -> Judge:
    """Train a small convolutional classifier.

    Args:
        images: float32 [N, H, W, C] of 0..1, the training split.
        classes: int64 [N].
        epochs: Passes over them.
        seed: Fixes weights and order.
    """
    keras.utils.set_random_seed(seed)
    image = keras.Input(images.shape[1:])
    x = layers.Conv2D(16, 5, strides=2, activation="relu")(image)
    x = layers.Conv2D(32, 5, strides=2, activation="relu")(x)
    x = layers.Dense(_FEATURES, activation="relu")(layers.Flatten()(x))
    features = keras.Model(image, x)
    known = keras.Input((_FEATURES,))
    head = layers.Dense(int(classes.max()) + 1, activation="softmax")(known)
    answers = keras.Model(known, head)
    whole = keras.Model(image, answers(features(image)))
    whole.compile("adam", "sparse_categorical_crossentropy")
    whole.fit(images, classes, batch_size=128, epochs=epochs, verbose=0)
    return Judge(features, answers)


def frechet_distance(first: Array, second: Array) -> float:
    """Return the squared Frechet distance of two sets of features, as if both were normal.

    It is |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al. 2017), with means m and
    covariances S; 0 for equal sets.

    Args:
        first: [N, F], N well above F.
        second: [M, F].
    """
    means = [one.mean(axis=0, dtype=np.float64) for one in (first, second)]
    spread = [np.cov(one.astype(np.float64), rowvar=False) for one in (first, second)]
    # (S1 S2)^(1/2) has the trace of (R S2 R)^(1/2) with R the root of S1, which is symmetric:
    # eigh is exact where a general matrix root becomes complex.
    values, vectors = np.linalg.eigh(spread[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ spread[1] @ root)
    overlap = np.sqrt(np.maximum(mixed, 0)).sum()
    distance = np.square(means[0] - means[1]).sum() + np.trace(spread[0] + spread[1]) - 2 * overlap
    return max(0.0, float(distance))
