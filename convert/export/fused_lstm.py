"""LSTM layers in the form that TFLite fuses into one op. Runs in the worker process.

TFLite turns a function marked as Keras' own LSTM into UNIDIRECTIONAL_SEQUENCE_LSTM, which has an
int8 kernel; the WHILE loop that Keras 3 traces to has none (its calibrator dies), and an unrolled
loop is many times larger. The op keeps its state between invocations: the runtime must reset it
before each sample (``stateful`` in the manifest).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import keras
import numpy as np
import tensorflow as tf

from edgeward.convert.artifact.limits import CELL_STATE, CELL_STEPS, LSTM
from edgeward.convert.artifact.tflite import DTYPES, FILE_IDENTIFIER, op_name, parse
from edgeward.convert.model.keras_model import KerasModel
from edgeward.convert.model.loaded import LoadedModel

__all__ = ["can_fuse", "save_fused", "with_usable_cell_state"]


def can_fuse(loaded: LoadedModel) -> bool:
    """Tell whether the model has one recurrent layer, an LSTM that the fused op computes exactly.

    No mask, no reversed order, tanh and sigmoid, a bias, zeros to start with. Of two LSTM layers
    TensorFlow 2.21 fuses only one and then fails on the loop of the other.
    """
    layers = [] if loaded.layered is None else loaded.layered.layers
    if any(
        getattr(layer, "mask_zero", False)
        or isinstance(layer, keras.layers.Masking | keras.layers.Bidirectional)
        for layer in layers
    ):
        return False
    recurrent = [layer for layer in layers if isinstance(layer, keras.layers.RNN)]
    return len(recurrent) == 1 and all(
        type(layer) is keras.layers.LSTM
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and layer.use_bias
        and not (layer.go_backwards or layer.stateful or layer.return_state)
        for layer in recurrent
    )


def _composite(number: int) -> Callable[..., Any]:
    """Return a function that the converter recognises by its attributes and arguments."""

    def standard_lstm(
        inputs: Any, init_h: Any, init_c: Any, kernel: Any, recurrent_kernel: Any, bias: Any
    ) -> Any:
        def step(state: Any, x: Any) -> Any:
            h, c = state
            gates = tf.matmul(x, kernel) + tf.matmul(h, recurrent_kernel) + bias
            i, f, g, o = tf.split(gates, 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c

        hs, cs = tf.scan(step, tf.transpose(inputs, [1, 0, 2]), (init_h, init_c))
        # The fifth result is the "runtime" of Keras' own function, which nobody reads.
        return hs[-1], tf.transpose(hs, [1, 0, 2]), hs[-1], cs[-1], tf.constant(1.0)

    return tf.function(
        standard_lstm,
        autograph=False,
        experimental_attributes={
            "api_implements": f"lstm_{number}",
            "api_preferred_device": "CPU",
            "time_major": False,
            "go_backwards": False,
        },
    )


class _FusedLstm(keras.layers.Layer):  # type: ignore[misc]
    """Stands for one LSTM layer; its weights are constants of the graph."""

    def __init__(self, layer: Any, number: int) -> None:
        super().__init__(name=layer.name)
        cell = layer.cell
        self._function = _composite(number)
        self._units = cell.units
        self._sequences = layer.return_sequences
        self._constants = [
            np.asarray(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)
        ]

    def call(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - what an LSTM is given
        zeros = tf.zeros((tf.shape(inputs)[0] if inputs.shape[0] is None else 1, self._units))
        weights = [tf.constant(array) for array in self._constants]
        last, outputs, *_ = self._function(inputs, zeros, zeros, *weights)
        return outputs if self._sequences else last


def save_fused(loaded: LoadedModel, folder: Path) -> LoadedModel:
    """Write a SavedModel of the model, batch of 1, with its LSTM layers in fused form.

    Args:
        loaded: A model that ``can_fuse``.
        folder: Where to write.

    Returns:
        The model that was written.
    """
    replaced: dict[str, Any] = {}

    def clone(layer: Any) -> Any:
        if type(layer) is keras.layers.LSTM:
            replaced[layer.name] = _FusedLstm(layer, len(replaced) + 1)
            return replaced[layer.name]
        return layer.__class__.from_config(layer.get_config())

    before: Any = loaded.layered
    model = keras.models.clone_model(before, clone_function=clone)
    originals = [layer for layer in before.layers if layer.name not in replaced]
    copies = [layer for layer in model.layers if layer.name not in replaced]
    for original, copy in zip(originals, copies, strict=True):
        copy.set_weights(original.get_weights())
    fused = KerasModel(model, loaded.inputs, loaded.outputs)
    module = tf.Module()
    # Tracked one by one: TensorFlow does not see the variables of a Keras 3 model.
    module.variables_of_the_model = [weight.value for weight in model.weights]
    module.call = tf.function(lambda *tensors: fused.call(*tensors))
    signature = module.call.get_concrete_function(*fused.signature(1))
    tf.saved_model.save(module, str(folder), signatures=signature)
    return fused


def with_usable_cell_state(data: bytes) -> bytes:
    """Give the cell state of each fused LSTM a step that the kernel has a tanh for.

    The converter takes the smallest power of two that holds the calibrated range. Of a state
    within +-0.5 that is 2^-16 or less, for which the kernel's tanh returns without writing. The
    runtime derives everything else (clipping, the shift of the gates' product) from this step when
    it loads the file, and no constant depends on it: the state starts as zeros.

    Args:
        data: A TFLite file.

    Returns:
        The same bytes where nothing has to change.
    """
    model = parse(data)
    changed = False
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            if op_name(model.operatorCodes[operator.opcodeIndex]) != LSTM:
                continue
            cell = graph.tensors[operator.inputs[CELL_STATE]]
            if DTYPES[cell.type] != "int16":
                continue
            step = float(cell.quantization.scale[0])
            low, high = (math.ldexp(1.0, power) for power in CELL_STEPS)
            usable = min(max(step, low), high)
            if usable != step:
                cell.quantization.scale = np.array([usable], np.float32)
                changed = True
    if not changed:
        return data
    builder = flatbuffers.Builder(len(data) + 1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())
