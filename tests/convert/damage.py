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
