"""A Keras model: its layers are there, can be copied and rewritten. Runs in the worker process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgeward.convert.model.edges import plain
from edgeward.convert.model.loaded import LoadedModel, Variable
from edgeward.runtime.arrays import Floats
from edgeward.runtime.errors import TargetError

__all__ = ["KerasModel"]


@dataclass(frozen=True)
class KerasModel(LoadedModel):
    """A model of a ``.keras`` or ``.h5`` file; see ``LoadedModel``.

    Attributes:
        model: The Keras model.
        inputs: Names in the order of ``model.inputs``.
        outputs: Names in the order of the model's flat outputs.
        note: What the user should know about how it was loaded.
    """

    model: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    note: str = ""

    @classmethod
    def of(cls, model: Any) -> KerasModel:
        """Name the edges of a Keras model as it does itself: the outputs after their layers."""
        names = getattr(model, "output_names", None)
        if names is None:
            # A Sequential model has none; the names of its tensors count up within a process.
            names = [tensor._keras_history.operation.name for tensor in model.outputs]
        inputs = plain([tensor.name for tensor in model.inputs])
        return cls(model, tuple(inputs), tuple(plain(list(names))))

    @property
    def loops(self) -> bool:
        """False: the layers that make loops are known."""
        return False

    @property
    def recurrent(self) -> list[str]:
        """Names of LSTM, GRU and SimpleRNN layers, also inside Bidirectional."""
        # Private, and the only one that also finds layers of nested models.
        layers = self.model._flatten_layers(include_self=False)
        return [layer.name for layer in layers if isinstance(layer, keras.layers.RNN)]

    @property
    def layered(self) -> Any:
        """The Keras model."""
        return self.model

    @property
    def variables(self) -> list[Variable]:
        """Its weights, in the order of ``get_weights``."""
        return [Variable(one.path, one.value, one.trainable) for one in self.model.weights]

    @property
    def activations(self) -> Mapping[str, str | None]:
        """Output name -> activation of the layer that gives it."""
        return {
            name: _activation(tensor)
            for name, tensor in zip(self.outputs, self.model.outputs, strict=True)
        }

    def call(self, *tensors: Any) -> dict[str, Any]:
        """Call the model for inference."""
        if isinstance(self.model, keras.Sequential):
            arguments = tensors[0] if len(tensors) == 1 else list(tensors)
        else:
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

    def results(self) -> list[Any]:
        """Return one ``tf.TensorSpec`` per output."""
        return [
            tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
            for name, tensor in zip(self.outputs, self.model.outputs, strict=True)
        ]

    def renamed(self, inputs: Sequence[str], outputs: Sequence[str]) -> KerasModel:
        """Return the same model with other names."""
        return replace(self, inputs=tuple(inputs), outputs=tuple(outputs))

    def with_shapes(self, shapes: Sequence[tuple[int | None, ...]]) -> KerasModel:
        """Return the same model for inputs of these dimensions.

        Raises:
            TargetError: A layer cannot have them.
        """
        model = self.model
        if [tuple(t.shape) for t in model.inputs] == [(None, *shape) for shape in shapes]:
            return self
        # A batch that the model fixes goes as well: TFLite needs 1 and ONNX any.
        tensors = [
            keras.Input(shape, dtype=tensor.dtype, name=tensor.name)
            for shape, tensor in zip(shapes, model.inputs, strict=True)
        ]
        try:
            # A Sequential model that was loaded has inputs but no input.
            sequential = isinstance(model, keras.Sequential)
            structure = (
                tensors[0] if sequential else keras.tree.pack_sequence_as(model.input, tensors)
            )
            rebuilt = keras.models.clone_model(model, input_tensors=structure)
            rebuilt.set_weights(model.get_weights())
        except Exception as error:  # a layer that cannot have this shape says so in its own way
            raise TargetError(
                "The model cannot be built with these shapes.",
                received=f"{dict(zip(self.inputs, shapes, strict=True))}: {error}"[:500],
                fix="another --shape, or model.export() with an input_signature of known shapes",
            ) from None
        return replace(self, model=rebuilt)

    def with_values(
        self,
        values: Mapping[int, Floats],
        function: Callable[[], Callable[..., dict[str, Any]]],  # noqa: ARG002 - its layers serve
    ) -> KerasModel:
        """Return a copy with other weights."""
        model = keras.models.clone_model(self.model)
        weights = [np.asarray(weight) for weight in self.model.weights]
        for place, value in values.items():
            weights[place] = value
        model.set_weights(weights)
        return replace(self, model=model)

    def unrolled(self) -> KerasModel:
        """Return the same model with its recurrent layers unrolled."""

        def clone(layer: Any) -> Any:
            config = layer.get_config()
            if "unroll" in config:
                config["unroll"] = True
            if isinstance(layer, keras.layers.Bidirectional):
                for side in ("layer", "backward_layer"):
                    if config.get(side):
                        config[side]["config"]["unroll"] = True
            return layer.__class__.from_config(config)

        model = keras.models.clone_model(self.model, clone_function=clone, recursive=True)
        model.set_weights(self.model.get_weights())
        return replace(self, model=model)


def _activation(tensor: Any) -> str | None:
    layer = getattr(getattr(tensor, "_keras_history", None), "operation", None)
    if type(layer).__name__ == "Softmax":
        return "softmax"
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", None)
