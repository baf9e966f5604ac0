"""Load a Keras model and freeze it once, for every TFLite variant. Runs in the worker process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from runtime.arrays import Array, Floats
from runtime.errors import InvalidModelError, TargetError

__all__ = ["LoadedModel", "freeze", "load_model"]


@dataclass(frozen=True)
class LoadedModel:
    """A Keras model whose edges have the manifest's names.

    Attributes:
        model: The Keras model.
        inputs: Names in the order of ``model.inputs``.
        outputs: Names in the order of the model's flat outputs.
    """

    model: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def call(self, *tensors: Any) -> dict[str, Any]:
        """Call the model for inference: tensors in the order of ``inputs``, outputs by name."""
        arguments = tensors[0] if len(tensors) == 1 else list(tensors)
        result = self.model(arguments, training=False)
        return dict(zip(self.outputs, tf.nest.flatten(result), strict=True))

    def signature(self, batch: int | None) -> list[Any]:
        """Return one ``tf.TensorSpec`` per input with this batch size."""
        return [
            tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, name=name)
            for name, tensor in zip(self.inputs, self.model.inputs, strict=True)
        ]

    def predict(self, arrays: Mapping[str, Array], batch: int = 500) -> dict[str, Floats]:
        """Run the float model on N preprocessed samples."""
        step = tf.function(lambda *tensors: self.call(*tensors))
        count = len(next(iter(arrays.values())))
        parts = [
            step(*(tf.constant(arrays[name][start : start + batch]) for name in self.inputs))
            for start in range(0, count, batch)
        ]
        return {
            name: np.concatenate([part[name].numpy() for part in parts]) for name in self.outputs
        }


def load_model(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> LoadedModel:
    """Load a ``.keras`` file.

    Args:
        path: The file.
        inputs: Names that the inputs have in the run.
        outputs: Names that the outputs have in the run.

    Raises:
        InvalidModelError: The file is damaged, holds weights that are not finite, or has other
            inputs or outputs.
        TargetError: A dimension other than the batch is not known.
    """
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, zipfile, h5py and json raise a dozen kinds
        raise InvalidModelError(
            f"{path.name} cannot be loaded.", received=f"{type(error).__name__}: {error}"
        ) from None
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight)).all():
            # The converter dies of a NaN weight with a segmentation fault.
            raise InvalidModelError(
                f"Weight {weight.path!r} holds values that are not finite.",
                fix="train again; the loss was probably NaN",
            )
    names = _match([t.name for t in model.inputs], inputs, "inputs")
    # A Sequential model has outputs but no output_names.
    output_names = getattr(model, "output_names", [t.name for t in model.outputs])
    outs = _match(list(output_names), outputs, "outputs")
    for name, tensor in zip(names, model.inputs, strict=True):
        if any(d is None for d in tensor.shape[1:]):
            raise TargetError(
                f"Input {name!r} has a dimension that is not known.",
                received=list(tensor.shape),
                expected="known dimensions after the batch",
                fix="give keras.Input a full shape",
            )
    return LoadedModel(model, names, outs)


def _match(have: list[str], want: Sequence[str], what: str) -> tuple[str, ...]:
    if len(have) == len(want) == 1:
        return (want[0],)
    if sorted(have) != sorted(want):
        raise InvalidModelError(f"The model has other {what}.", received=have, expected=list(want))
    return tuple(have)


def freeze(loaded: LoadedModel) -> Any:
    """Trace the model with a batch of 1 and turn its variables into constants.

    Without freezing, TensorFlow 2.21 writes TFLite files that hold no weights.
    """
    concrete = tf.function(lambda *tensors: loaded.call(*tensors)).get_concrete_function(
        *loaded.signature(1)
    )
    return convert_variables_to_constants_v2(concrete)
