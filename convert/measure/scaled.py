"""The same file with one layer's weights multiplied: damage that a self-test has to notice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgeward.convert.artifact.tflite import DTYPES, FILE_IDENTIFIER, parse
from edgeward.runtime.arrays import Array

__all__ = ["scale_onnx", "scale_tflite"]

# What weights are stored as. Constants of 32 and 64 bit integers are biases, shapes and indices.
_DTYPES = ("float32", "float16", "int8", "uint8")


def _multiplied(values: Array, factor: float) -> Array:
    if values.dtype.kind == "f":
        return np.asarray(values * values.dtype.type(factor))
    limits = np.iinfo(values.dtype)
    # Weights without sign are stored around the middle; those with one leave out the lowest step.
    zero = 128 if limits.min == 0 else 0
    scaled = np.rint((values.astype(np.float64) - zero) * factor) + zero
    return np.clip(scaled, max(limits.min, -limits.max), limits.max).astype(values.dtype)


def scale_tflite(data: bytes, factor: float) -> bytes | None:
    """Multiply the weights of the layer with the most parameters of a TFLite file.

    Integers are rounded and clipped; their scales stay as they are.

    Args:
        data: The file.
        factor: What the weights are multiplied by.

    Returns:
        None where the file has no weights.
    """
    import flatbuffers

    model = parse(data)
    largest: dict[int, str] = {}
    most = 0
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            layer = {}
            size = 0
            for index in operator.inputs if operator.inputs is not None else []:
                tensor = graph.tensors[index] if index >= 0 else None
                if tensor is None or not _is_weight(model, tensor):
                    continue
                layer[int(tensor.buffer)] = DTYPES[tensor.type]
                size += math.prod(int(d) for d in tensor.shape)
            if size > most:
                largest, most = layer, size
    if not largest:
        return None
    for place, dtype in largest.items():
        values = np.frombuffer(bytes(model.buffers[place].data), dtype)
        changed = _multiplied(values, factor).tobytes()
        model.buffers[place].data = np.frombuffer(changed, np.uint8)
    builder = flatbuffers.Builder(len(data) + 1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _is_weight(model: Any, tensor: Any) -> bool:
    content = model.buffers[tensor.buffer].data
    dtype = DTYPES[tensor.type]
    if content is None or dtype not in _DTYPES or tensor.shape is None or len(tensor.shape) < 2:
        return False
    # Others are packed in a way that this does not know.
    return len(content) == math.prod(int(d) for d in tensor.shape) * np.dtype(dtype).itemsize


def scale_onnx(data: bytes, factor: float) -> bytes | None:
    """Multiply the weights of the layer with the most parameters of an ONNX file.

    Integers are rounded and clipped; their scales stay as they are.

    Args:
        data: The file.
        factor: What the weights are multiplied by.

    Returns:
        None where the file has no weights.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(data)
    kinds = {getattr(onnx.TensorProto, dtype.replace("32", "").upper()) for dtype in _DTYPES}
    constants = model.graph.initializer
    weights = {t.name: t for t in constants if t.data_type in kinds and len(t.dims) > 1}
    layers = [[name for name in node if name in weights] for node in _inputs(model.graph)]
    sizes = [sum(math.prod(weights[name].dims) for name in layer) for layer in layers]
    if not any(sizes):
        return None
    for name in set(layers[int(np.argmax(sizes))]):
        values = np.asarray(numpy_helper.to_array(weights[name]))
        weights[name].CopyFrom(numpy_helper.from_array(_multiplied(values, factor), name))
    return bytes(model.SerializeToString())


def _inputs(graph: Any) -> Iterator[list[str]]:
    """Yield what each node reads, those inside of loops and branches too."""
    for node in graph.node:
        yield list(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _inputs(attribute.g)
