"""Cross-layer equalisation: the same function, with channels of like size. Runs in the worker.

int8 gives all channels of an activation one scale; where one channel is a thousand times larger
than another, the small one is rounded to nothing. Between two linear layers with nothing but ReLU
and pooling in between, a channel can be made smaller in the first and its weights larger in the
second without changing an answer (Nagel et al. 2019, "Data-Free Quantization Through Weight
Equalization and Bias Correction"). Both formats give the weights of the first layer a scale per
channel, so what is balanced here is the activation, as seen on the calibration samples, against
the weights of the second layer (Xiao et al. 2022, "SmoothQuant").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from edgeward.convert.model.keras_model import KerasModel
from edgeward.convert.model.loaded import LoadedModel
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import TargetError

__all__ = ["equalised"]

_LAYERS = keras.layers

_LINEAR = (_LAYERS.Conv2D, _LAYERS.DepthwiseConv2D, _LAYERS.Conv1D, _LAYERS.Dense)

# What a positive factor per channel passes through unchanged.
_THROUGH = (
    *(_LAYERS.MaxPooling2D, _LAYERS.AveragePooling2D, _LAYERS.GlobalAveragePooling2D),
    *(_LAYERS.GlobalMaxPooling2D, _LAYERS.ZeroPadding2D, _LAYERS.Dropout, _LAYERS.Flatten),
    *(_LAYERS.MaxPooling1D, _LAYERS.AveragePooling1D, _LAYERS.GlobalAveragePooling1D),
    *(_LAYERS.GlobalMaxPooling1D, _LAYERS.ZeroPadding1D, _LAYERS.UpSampling2D),
)

# A channel that the calibration samples hardly wake may be large in the next one.
_SMALLEST = 1e-4

_BATCH = 50


@dataclass(frozen=True)
class _Pair:
    """Two layers between which channels can be scaled.

    Attributes:
        norm: The batch normalisation of the first one; None where it has none.
        first: The layer that writes the channels.
        tensor: The symbolic activation that is rounded between them.
        second: The layer that reads them.
    """

    norm: Any
    first: Any
    tensor: Any
    second: Any


def equalised(loaded: LoadedModel, samples: Mapping[str, Array]) -> LoadedModel:
    """Return a model with the same answers whose channels are of like size.

    Args:
        loaded: The model; stays as it is.
        samples: Input name -> preprocessed calibration samples ``[N, ...]``.

    Raises:
        TargetError: It has no two layers between which channels can be scaled.
    """
    reason = "a SavedModel, which has no layers"
    if loaded.layered is not None:
        model = keras.models.clone_model(loaded.layered)
        model.set_weights(loaded.layered.get_weights())
        pairs = list(_pairs(keras.Model(model.inputs, model.outputs)))
        if pairs:
            copy = KerasModel(model, loaded.inputs, loaded.outputs, loaded.note)
            for pair, largest in zip(pairs, _largest(copy, pairs, samples), strict=True):
                _scale(pair, largest)
            return copy
        reason = "no such pair"
    raise TargetError(
        "The channels of this model cannot be equalised.",
        received=reason,
        expected="two Keras layers (convolution or dense) with only ReLU or pooling in between",
        fix="other settings",
    )


def _pairs(model: Any) -> Iterator[_Pair]:
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
    # A layer used twice would need the same factors in both places.
    uses = Counter(id(node.operation) for node in nodes)
    readers: dict[int, list[Any]] = {}
    for node in nodes:
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    edges = {id(tensor) for tensor in model.outputs}

    def only_reader(node: Any) -> Any:
        tensor = node.output_tensors[0]
        after = readers.get(id(tensor), [])
        alone = len(after) == 1 and id(tensor) not in edges
        return after[0] if alone and uses[id(after[0].operation)] == 1 else None

    for node in nodes:
        first = node.operation
        if not _is_linear(first) or uses[id(first)] > 1 or not _is_relu(first, linear=True):
            continue
        norm, rounded, after = None, node, only_reader(node)
        if after is not None and _scales(after.operation) and _is_relu(first, linear=None):
            norm, rounded, after = after.operation, after, only_reader(after)
        if after is not None and isinstance(after.operation, _LAYERS.ReLU | _LAYERS.Activation):
            if not _is_relu(after.operation):
                continue
            rounded, after = after, only_reader(after)
        while after is not None and isinstance(after.operation, _THROUGH):
            after = only_reader(after)
        if after is not None and _is_linear(after.operation):
            yield _Pair(norm, first, rounded.output_tensors[0], after.operation)


def _is_linear(layer: Any) -> bool:
    return (
        type(layer) in _LINEAR
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "depth_multiplier", 1) == 1
    )


def _is_relu(layer: Any, *, linear: bool | None = False) -> bool:
    """Tell whether a layer ends in a ReLU (or, where asked for, in nothing; None: only in that)."""
    if isinstance(layer, _LAYERS.ReLU):
        # ReLU6 cuts each channel at the same height: scaled ones would be cut elsewhere.
        return layer.max_value is None and not layer.threshold
    kinds = () if linear is None else (keras.activations.relu,)
    return layer.activation in (*kinds, *([] if linear is False else [keras.activations.linear]))


def _scales(layer: Any) -> bool:
    """Tell whether a layer is a batch normalisation that can give each channel its factor."""
    return (
        isinstance(layer, _LAYERS.BatchNormalization)
        and layer.scale
        and layer.center
        and layer.axis in (-1, len(layer.output.shape) - 1)
    )


def _largest(loaded: KerasModel, pairs: list[_Pair], samples: Mapping[str, Array]) -> list[Floats]:
    """Return the largest magnitude of each channel of each activation between a pair."""
    probe = KerasModel(
        keras.Model(loaded.model.inputs, [pair.tensor for pair in pairs]),
        loaded.inputs,
        tuple(str(number) for number in range(len(pairs))),
    )
    found: list[Floats] = []
    for start in range(0, len(next(iter(samples.values()))), _BATCH):
        part = {name: array[start : start + _BATCH] for name, array in samples.items()}
        values = probe.predict(part, _BATCH)
        peaks = [
            np.abs(values[name]).reshape(-1, values[name].shape[-1]).max(0)
            for name in probe.outputs
        ]
        found = [np.maximum(a, b) for a, b in zip(found, peaks, strict=True)] if found else peaks
    return found


def _scale(pair: _Pair, largest: Floats) -> None:
    kernel = np.asarray(pair.second.kernel)
    channels = len(largest)
    if not largest.any():
        return
    sizes = np.maximum(largest / largest.max(), _SMALLEST)
    if isinstance(pair.second, _LAYERS.DepthwiseConv2D):
        # Its weights have a scale per channel: they can take the whole of it.
        factors = sizes
        spread = factors[:, None]
    else:
        # Behind a Flatten each channel has a row of weights per position.
        rows = np.abs(kernel).reshape(-1, channels, kernel.shape[-1]).max(0)
        share = (rows / np.maximum(rows.max(0), np.finfo(np.float32).tiny)).max(1)
        factors = np.sqrt(sizes / np.maximum(share, _SMALLEST))
        spread = np.tile(factors, kernel.shape[-2] // channels)[:, None]
    _divide(pair, factors)
    pair.second.kernel.assign(kernel * spread)


def _divide(pair: _Pair, factors: Floats) -> None:
    if pair.norm is not None:
        pair.norm.gamma.assign(np.asarray(pair.norm.gamma) / factors)
        pair.norm.beta.assign(np.asarray(pair.norm.beta) / factors)
        return
    first = pair.first
    depthwise = isinstance(first, _LAYERS.DepthwiseConv2D)
    first.kernel.assign(np.asarray(first.kernel) / (factors[:, None] if depthwise else factors))
    if first.use_bias:
        first.bias.assign(np.asarray(first.bias) / factors)
