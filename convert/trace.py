"""Load a Keras model and freeze it once, for every TFLite variant. Runs in the worker process."""

from __future__ import annotations

import zipfile
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

__all__ = ["LoadedModel", "freeze", "load_model", "recurrent_layers", "unrolled"]


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

    def check(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return preprocessed samples ``[N, ...]`` that fit the model's inputs.

        Raises:
            InvalidModelError: Another shape or dtype than the model takes.
        """
        for spec in self.signature(None):
            array = arrays[spec.name]
            have, want = list(array.shape[1:]), list(spec.shape[1:])
            if have != want or array.dtype.name != spec.dtype.name:
                raise InvalidModelError(
                    f"The model does not take what preprocessing gives for input {spec.name!r}.",
                    received=f"{array.dtype} {have} from preprocessing",
                    expected=f"{spec.dtype.name} {want}",
                )
        return arrays

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
    if not zipfile.is_zipfile(path):
        raise InvalidModelError(
            f"{path.name} is no .keras file.", expected="a file that model.save() wrote"
        )
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


def recurrent_layers(loaded: LoadedModel) -> list[str]:
    """Return the names of the recurrent layers: LSTM, GRU, SimpleRNN, also inside Bidirectional."""
    # Private, and the only one that also finds layers of nested models.
    layers = loaded.model._flatten_layers(include_self=False)
    return [layer.name for layer in layers if isinstance(layer, keras.layers.RNN)]


def unrolled(loaded: LoadedModel) -> LoadedModel:
    """Return the same model with its recurrent layers unrolled: no loop, no state, same answers."""

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if "unroll" in config:
            config["unroll"] = True
        if isinstance(layer, keras.layers.Bidirectional):
            for side in ("layer", "backward_layer"):
                if config.get(side):
                    config[side]["config"]["unroll"] = True
        return layer.__class__.from_config(config)

    model = keras.models.clone_model(loaded.model, clone_function=clone, recursive=True)
    model.set_weights(loaded.model.get_weights())
    return LoadedModel(model, loaded.inputs, loaded.outputs)


def freeze(loaded: LoadedModel) -> Any:
    """Trace the model with a batch of 1 and turn its variables into constants.

    Without freezing, TensorFlow 2.21 writes TFLite files that hold no weights.
    """
    concrete = tf.function(lambda *tensors: loaded.call(*tensors)).get_concrete_function(
        *loaded.signature(1)
    )
    return convert_variables_to_constants_v2(concrete)
