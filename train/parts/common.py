"""Small blocks that recipes share: an input, a loss, an optimizer. TensorFlow only when called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgeward.runtime.specs import InputSpec
from edgeward.runtime.steps import Affine, Grayscale, ResizeBilinear, Step

if TYPE_CHECKING:
    import keras

__all__ = ["image_input", "quick_adam", "smoothed_loss"]


def image_input(size: int, channels: int) -> InputSpec:
    """Return the input of a model for images of any size, made ``size`` x ``size``, 0..1.

    A model of one channel takes gray and color files, one of three channels color files only:
    there is no step that makes three channels of one.
    """
    steps: tuple[Step, ...] = (ResizeBilinear(size, size), Affine(1 / 255, 0.0))
    if channels == 1:
        return InputSpec("image", "uint8", (None, None, None), (Grayscale(), *steps))
    return InputSpec("image", "uint8", (None, None, channels), steps)


def smoothed_loss(classes: int) -> Callable[[Any], keras.losses.Loss]:
    """Return what makes the cross-entropy with label smoothing of ``hyper.smoothing``."""

    def loss(hyper: Any) -> keras.losses.Loss:
        from edgeward.train.parts.losses import SmoothedCrossentropy

        hyper.require(0 <= hyper.smoothing < 1, "smoothing", "a number of 0..1, below 1")
        return SmoothedCrossentropy(classes, hyper.smoothing)

    return loss


def quick_adam(hyper: Any, rate: Any) -> keras.optimizers.Optimizer:
    """Make Adam with ``hyper.beta2``: a short memory suits a training of few epochs."""
    import keras

    hyper.require(0 < hyper.beta2 < 1, "beta2", "a number between 0 and 1")
    return keras.optimizers.Adam(rate, beta_2=hyper.beta2)
