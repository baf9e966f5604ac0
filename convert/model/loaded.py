"""A loaded model, whatever file it came from, and the other forms that it can take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgeward.convert.model.saved_model import ServedModel
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidModelError

__all__ = ["LoadedModel", "recurrent_layers", "unrolled"]


@dataclass(frozen=True)
class LoadedModel:
    """A model whose edges have the manifest's names.

    Attributes:
        model: The Keras model, or a ``ServedModel``, which has no layers.
        inputs: Names in the order of ``model.inputs``.
        outputs: Names in the order of the model's flat outputs.
        note: What the user should know about how it was loaded; mostly empty.
    """

    model: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    note: str = ""

    @property
    def loops(self) -> bool:
        """Whether it has loops that can neither be unrolled nor fused, their layers being gone."""
        return isinstance(self.model, ServedModel) and self.model.loops

    def call(self, *tensors: Any) -> dict[str, Any]:
        """Call the model for inference: tensors in the order of ``inputs``, outputs by name."""
        arguments = tensors[0] if len(tensors) == 1 else list(tensors)
        if isinstance(self.model, keras.Model) and not isinstance(self.model, keras.Sequential):
            # A model may take its inputs as a dict.
            arguments = keras.tree.pack_sequence_as(self.model.input, list(tensors))
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


def recurrent_layers(loaded: LoadedModel) -> list[str]:
    """Return the names of the recurrent layers: LSTM, GRU, SimpleRNN, also inside Bidirectional.

    A SavedModel has no layers, and so none that are recurrent; see ``LoadedModel.loops``.
    """
    # Private, and the only one that also finds layers of nested models.
    layers = loaded.model._flatten_layers(include_self=False)
    return [layer.name for layer in layers if isinstance(layer, keras.layers.RNN)]


def unrolled(loaded: LoadedModel) -> LoadedModel:
    """Return the same model with its recurrent layers unrolled: no loop, no state, same answers.

    Masks stay: an unrolled step that is masked selects the state before it.
    """

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
    return LoadedModel(model, loaded.inputs, loaded.outputs, loaded.note)
