"""Deliberate damage to artifacts: files that load, run and look right, and answer worse."""

from __future__ import annotations

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

WEIGHT_OPS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)


def break_tflite(data: bytes) -> bytes:
    """Negate the weights of the first layer; types, scales and shapes stay as they were."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    operator = next(
        op
        for op in graph.operators
        if model.operatorCodes[op.opcodeIndex].builtinCode in WEIGHT_OPS
    )
    tensor = graph.tensors[operator.inputs[1]]
    buffer = model.buffers[tensor.buffer]
    dtype = np.float32 if tensor.type == schema.TensorType.FLOAT32 else np.int8
    values = np.frombuffer(bytes(buffer.data), dtype)
    buffer.data = np.frombuffer((-values).tobytes(), np.uint8)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def break_onnx(data: bytes) -> bytes:
    """Negate the largest weight tensor."""
    model = onnx.load_model_from_string(data)
    tensor = max(model.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    return bytes(model.SerializeToString())


def break_artifact(artifact_id: str, data: bytes) -> bytes:
    """Damage a TFLite or an ONNX artifact."""
    return (break_tflite if artifact_id.startswith("tflite") else break_onnx)(data)


# ---- damage of one layer: what a broken exporter or a flipped byte does

# Hands its input on as it is, so nothing makes up for another zero point behind it. Runtimes refuse
# a MAX_POOL_2D with one, and after a convolution the range is moved, no more.
COPY = schema.BuiltinOperator.RESHAPE


def scale_channel(artifact_id: str, data: bytes, factor: float, *, last: bool) -> bytes:
    """Multiply the step of channel 0 of the first or the last weights, and so its weights."""
    index = -1 if last else 0
    if artifact_id.startswith("tflite"):
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        graph = model.subgraphs[0]
        operator = [op for op in graph.operators if _code(model, op) in WEIGHT_OPS][index]
        weights = graph.tensors[operator.inputs[1]]
        steps = weights.quantization.scale.copy()
        steps[0] *= factor
        weights.quantization.scale = steps
        return _packed(model, len(data))
    graph = onnx.load_model_from_string(data)
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    node = [
        node
        for node in graph.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in tensors
        and len(tensors[node.input[0]].dims) > 1
    ][index]
    scale = tensors[node.input[1]]
    steps = numpy_helper.to_array(scale).copy()
    steps[0] *= factor
    scale.CopyFrom(numpy_helper.from_array(steps, scale.name))
    return bytes(graph.SerializeToString())


def shift_zero_point(artifact_id: str, data: bytes, shift: int) -> bytes:
    """Let one layer read what another wrote with a zero point that is ``shift`` higher."""
    if artifact_id.startswith("tflite"):
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        graph = model.subgraphs[0]
        copy = next(op for op in graph.operators if _code(model, op) == COPY)
        tensor = graph.tensors[copy.outputs[0]]
        tensor.quantization.zeroPoint = tensor.quantization.zeroPoint + shift
        return _packed(model, len(data))
    graph = onnx.load_model_from_string(data)
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    reader = next(node for node in graph.graph.node if node.op_type == "Gemm")
    node = next(node for node in graph.graph.node if reader.input[0] in node.output)
    zero = numpy_helper.to_array(tensors[node.input[2]])
    shifted = np.asarray(int(zero) + shift, zero.dtype)
    graph.graph.initializer.append(numpy_helper.from_array(shifted, "shifted_zero_point"))
    node.input[2] = "shifted_zero_point"
    return bytes(graph.SerializeToString())


def _code(model: schema.ModelT, operator: schema.OperatorT) -> int:
    return model.operatorCodes[operator.opcodeIndex].builtinCode


def _packed(model: schema.ModelT, size: int) -> bytes:
    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def shift_range(data: bytes, shift: int) -> bytes:
    """Shift the zero point of a TFLite layer's output for writer and reader alike."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    last = [op for op in graph.operators if _code(model, op) in WEIGHT_OPS][-2]
    tensor = graph.tensors[last.outputs[0]]
    tensor.quantization.zeroPoint = tensor.quantization.zeroPoint + shift
    return _packed(model, len(data))
