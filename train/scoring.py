"""A model's answers to raw samples, and what they are worth: the loss and the task's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import keras
import numpy as np

from runtime.arrays import Array, Column
from runtime.errors import UsageError
from runtime.preprocessing import postprocess, preprocess_batch
from runtime.samples import Samples
from runtime.specs import InputSpec, OutputSpec
from runtime.tasks import evaluate
from train.fit import forward

__all__ = ["Scorer"]

_LOSSES = {
    "classification": keras.losses.SparseCategoricalCrossentropy,
    "binary": keras.losses.BinaryCrossentropy,
    "regression": keras.losses.MeanSquaredError,
}
_Spec = TypeVar("_Spec", InputSpec, OutputSpec)


class Scorer:
    """Scores models of one input and one output.

    Args:
        inputs: Input name -> spec.
        outputs: Output name -> spec.

    Attributes:
        input: Spec of the input.
        output: Spec of the output.
        output_name: Name of the output.
        loss: Keras loss of the task, one number per sample.

    Raises:
        UsageError: Several inputs or outputs, or a task without a loss.
    """

    def __init__(self, inputs: Mapping[str, InputSpec], outputs: Mapping[str, OutputSpec]) -> None:
        self._input_name, self.input = _only(inputs)
        self.output_name, self.output = _only(outputs)
        if self.output.task not in _LOSSES:
            raise UsageError(
                "The loop has no loss for this task.",
                received=self.output.task,
                expected=", ".join(_LOSSES),
            )
        self.loss: keras.losses.Loss = _LOSSES[self.output.task](reduction=None)

    def raw(self, samples: Samples) -> Column:
        """Return the raw inputs."""
        return samples.inputs[self._input_name]

    def targets(self, samples: Samples) -> Array:
        """Return the targets."""
        return samples.targets[self.output_name]

    def predict(self, model: keras.Model, samples: Samples) -> Array:
        """Return the outputs for raw samples, float32 [N, ...] after postprocessing."""
        outputs = forward(model, preprocess_batch(self.input, self.raw(samples)))
        return postprocess(self.output.postprocessing, outputs.astype(np.float32))

    def score(self, outputs: Array, samples: Samples) -> dict[str, float]:
        """Return the task's metrics of outputs from ``predict``."""
        return evaluate(self.output, outputs, self.targets(samples))

    def mean_loss(self, outputs: Array, samples: Samples) -> float:
        """Return the mean loss of outputs from ``predict``."""
        return float(np.mean(self.loss(self.targets(samples), outputs)))


def _only(specs: Mapping[str, _Spec]) -> tuple[str, _Spec]:
    if len(specs) != 1:
        raise UsageError(
            "The loop trains models of one input and one output.",
            received=", ".join(specs),
            expected="one name each",
        )
    return next(iter(specs.items()))
