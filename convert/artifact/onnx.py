"""Read ONNX graphs: edges, ops, and what is really quantised."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import helper

from edgeward.runtime.artifact import Op, TensorSpec
from edgeward.runtime.errors import InvalidModelError

__all__ = ["OnnxGraph", "read_onnx"]

# onnxruntime version that first reads an opset; from the table of supported opsets in its
# documentation (docs/Versioning.md).
_ORT_FOR_OPSET = {13: "1.6", 14: "1.8", 15: "1.9", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15"}

# Ops with weights, and which of their inputs those are. A bias may stay in float.
_WEIGHT_INPUTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "MatMul", "Gemm"), (1,)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2)),
    "Gather": (0,),
}

# What a weight may pass on its way from the file to its op.
_MOVES = {"Reshape", "Transpose", "Cast", "Identity", "Squeeze", "Unsqueeze", "Slice", "Concat"}

# A Gather also picks sizes out of shapes; an embedding is larger than any shape.
_SMALL = 64


@dataclass(frozen=True)
class OnnxGraph:
    """What an ONNX file holds.

    Attributes:
        inputs: Input tensors, batch None.
        outputs: Output tensors.
        ops: Op types with the version of their opset.
        opset: Version of the default opset.
        float_weights: Names of weights that an op reads as float32, straight from the file.
        half_weights: Names of constants in float16.
        float_activations: Names of the nodes with weights whose activations are not dequantised.
        external: Names of tensors stored outside the file.
        nodes: Number of nodes.
        min_runtime: Lowest onnxruntime version known to read the opset.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: tuple[Op, ...]
    opset: int
    float_weights: tuple[str, ...]
    half_weights: tuple[str, ...]
    float_activations: tuple[str, ...]
    external: tuple[str, ...]
    nodes: int
    min_runtime: str


def read_onnx(data: bytes) -> OnnxGraph:
    """Read an ONNX file.

    Raises:
        InvalidModelError: It is no valid ONNX file.
    """
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's classes differ between versions
        raise InvalidModelError("This is no valid ONNX file.", received=error) from None
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    float_weights: list[str] = []
    float_activations: list[str] = []

    def origins(name: str) -> list[str]:
        """Return the constants that a value is, moved about but not computed with."""
        if name in constants:
            return [name]
        maker = makers.get(name)
        if maker is None or maker.op_type not in _MOVES:
            return []
        return [origin for given in maker.input for origin in origins(given)]

    def is_float_weight(name: str) -> bool:
        tensor = constants[name]
        return tensor.data_type == onnx.TensorProto.FLOAT and math.prod(tensor.dims) > _SMALL

    for node in graph.node:
        places = _WEIGHT_INPUTS.get(node.op_type, ())
        found = [o for i in places if i < len(node.input) for o in origins(node.input[i])]
        float_weights += [name for name in found if is_float_weight(name)]
        if places and node.op_type != "Gather":
            maker = makers.get(node.input[0])
            if maker is None or maker.op_type != "DequantizeLinear":
                float_activations.append(node.name or node.op_type)
    domains = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    opset = int(domains["ai.onnx"])
    return OnnxGraph(
        inputs=tuple(_edge(value) for value in graph.input if value.name not in constants),
        outputs=tuple(_edge(value) for value in graph.output),
        ops=tuple(
            sorted(
                {Op(node.op_type, int(domains[node.domain or "ai.onnx"])) for node in graph.node}
            )
        ),
        opset=opset,
        float_weights=tuple(float_weights),
        half_weights=tuple(
            tensor.name
            for tensor in graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT16
        ),
        float_activations=tuple(float_activations),
        external=tuple(
            tensor.name
            for tensor in graph.initializer
            if tensor.data_location == onnx.TensorProto.EXTERNAL
        ),
        nodes=len(graph.node),
        min_runtime=_ORT_FOR_OPSET.get(opset, ""),
    )


def _edge(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(value.name, value.name, shape, dtype)
