"""Losses that Keras lacks in the form the loop wants: integer targets, one number per sample."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["SmoothedCrossentropy"]


class SmoothedCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy against targets that are not quite sure (Szegedy et al. 2016, label smoothing).

    Keras has it for one-hot targets only.

    Args:
        classes: Number of classes.
        smoothing: Share of the probability that is spread over all classes, 0 <= s < 1.
    """

    def __init__(self, classes: int, smoothing: float) -> None:
        super().__init__(reduction=None)
        self._classes = classes
        self._smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each sample: targets int [N], probabilities float32 [N, classes]."""
        indices = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        return keras.losses.categorical_crossentropy(
            keras.ops.one_hot(indices, self._classes), y_pred, label_smoothing=self._smoothing
        )
