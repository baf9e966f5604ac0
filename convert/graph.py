"""Read and canonicalise TFLite graphs. FlatBuffers only, no TensorFlow.

The schema comes with ai-edge-litert, which is generated from the runtime's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from runtime.artifact import Op
from runtime.errors import InvalidModelError

__all__ = [
    "DTYPES",
    "FILE_IDENTIFIER",
    "Graph",
    "GraphTensor",
    "canonicalise",
    "is_custom",
    "op_name",
    "parse",
    "read_graph",
    "text_of",
]

FILE_IDENTIFIER = b"TFL3"

DTYPES = {
    value: name.lower()
    for name, value in vars(schema.TensorType).items()
    if not name.startswith("_")
}
_BUILTINS = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


@dataclass(frozen=True)
class GraphTensor:
    """A tensor of a TFLite graph.

    Attributes:
        name: Its name in the file.
        shape: Dimensions.
        dtype: numpy name of its dtype.
        scales: Scales, one or one per channel; empty where it is not quantised.
        zero_points: Zero points, as many as scales.
        size: Bytes of its constant content; 0 for an activation.
        used_by: Names of the ops that read it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    size: int
    used_by: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """What a TFLite file holds.

    Attributes:
        inputs: Its input tensors.
        outputs: Its output tensors.
        tensors: The tensors of all subgraphs that an op reads or writes.
        ops: Builtin ops with their versions, sorted, each once.
        custom_ops: Names of custom ops (``Flex...`` runs TensorFlow).
        min_runtime: Lowest TensorFlow Lite version that holds the ops, as the converter wrote it.
    """

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    tensors: tuple[GraphTensor, ...]
    ops: tuple[Op, ...]
    custom_ops: tuple[str, ...]
    min_runtime: str


def parse(data: bytes) -> Any:
    """Return the ``ModelT`` of a TFLite file.

    Raises:
        InvalidModelError: It is no TFLite file.
    """
    if data[4:8] != FILE_IDENTIFIER:
        raise InvalidModelError(
            "This is no TFLite file.", received=repr(data[4:8]), expected=repr(FILE_IDENTIFIER)
        )
    return schema.ModelT.InitFromPackedBuf(data, 0)


def text_of(value: bytes | str | None) -> str:
    """Return a string of the file as str."""
    return value.decode() if isinstance(value, bytes) else value or ""


def op_name(code: Any) -> str:
    """Return the name of an ``OperatorCodeT``: the builtin op's or the custom op's own."""
    return text_of(code.customCode) if is_custom(code) else _BUILTINS[_builtin(code)]


def is_custom(code: Any) -> bool:
    """Tell whether an ``OperatorCodeT`` is a custom op (``Flex...`` runs TensorFlow)."""
    return _builtin(code) == int(schema.BuiltinOperator.CUSTOM)


def _builtin(code: Any) -> int:
    # Old files hold the op in the deprecated byte only.
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def read_graph(data: bytes) -> Graph:
    """Read a TFLite file.

    Raises:
        InvalidModelError: It is no TFLite file.
    """
    model = parse(data)
    tensors: list[GraphTensor] = []
    edges: dict[str, tuple[GraphTensor, ...]] = {}
    for number, subgraph in enumerate(model.subgraphs):
        readers: dict[int, list[str]] = {}
        # Tensors that no op reads or writes are no values: the intermediates of a fused LSTM only
        # carry its scales.
        values = {int(i) for i in (*subgraph.inputs, *subgraph.outputs)}
        for operator in subgraph.operators or []:
            for index in operator.inputs if operator.inputs is not None else []:
                name = op_name(model.operatorCodes[operator.opcodeIndex])
                readers.setdefault(int(index), []).append(name)
            values.update(int(i) for i in operator.outputs)
        values.update(readers)
        local = [
            _tensor(model, tensor, readers.get(i, [])) for i, tensor in enumerate(subgraph.tensors)
        ]
        tensors.extend(tensor for i, tensor in enumerate(local) if i in values)
        if number == 0:
            edges = {
                "inputs": tuple(local[i] for i in subgraph.inputs),
                "outputs": tuple(local[i] for i in subgraph.outputs),
            }
    ops: set[Op] = set()
    custom: set[str] = set()
    for code in model.operatorCodes:
        if is_custom(code):
            custom.add(op_name(code))
        else:
            ops.add(Op(op_name(code), int(code.version)))
    return Graph(
        edges["inputs"],
        edges["outputs"],
        tuple(tensors),
        tuple(sorted(ops)),
        tuple(sorted(custom)),
        _min_runtime(model),
    )


def _tensor(model: Any, tensor: Any, readers: list[str]) -> GraphTensor:
    content = model.buffers[tensor.buffer].data
    quantization = tensor.quantization
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    if quantization is not None and quantization.scale is not None:
        scales = tuple(float(scale) for scale in quantization.scale)
        given = quantization.zeroPoint
        zero_points = tuple(int(z) for z in given) if given is not None else (0,) * len(scales)
    return GraphTensor(
        name=text_of(tensor.name),
        shape=tuple(int(d) for d in tensor.shape) if tensor.shape is not None else (),
        dtype=DTYPES[tensor.type],
        scales=scales,
        zero_points=zero_points,
        size=0 if content is None else len(content),
        used_by=tuple(readers),
    )


def _min_runtime(model: Any) -> str:
    for entry in model.metadata or []:
        if text_of(entry.name) == "min_runtime_version":
            return bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode()
    return ""


def canonicalise(data: bytes, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> bytes:
    """Make a batch-1 graph resizable and name its edges as the manifest does.

    A constant RESHAPE to ``[1, N]`` (Keras' ``Flatten``) fixes the batch: rewritten to ``[-1, N]``
    it gives the same answers, and the file can be resized and delegated on every runtime.

    Args:
        data: A TFLite file with a static batch of 1.
        inputs: Tensor name in the file -> new name.
        outputs: The same for outputs.

    Returns:
        The rewritten file.
    """
    model = parse(data)
    graph = model.subgraphs[0]
    _free_reshapes(model, graph)
    for indices, names in ((graph.inputs, inputs), (graph.outputs, outputs)):
        for index in indices:
            tensor = graph.tensors[index]
            tensor.name = names.get(text_of(tensor.name), text_of(tensor.name))
    builder = flatbuffers.Builder(len(data) + 1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _free_reshapes(model: Any, graph: Any) -> None:
    for operator in graph.operators:
        if (
            op_name(model.operatorCodes[operator.opcodeIndex]) != "RESHAPE"
            or len(operator.inputs) < 2
        ):
            continue
        source = graph.tensors[operator.inputs[0]]
        target = graph.tensors[operator.outputs[0]]
        wanted = graph.tensors[operator.inputs[1]]
        content = model.buffers[wanted.buffer].data
        if content is None or len(source.shape) == 0 or len(target.shape) == 0:
            continue
        shape = np.frombuffer(bytes(content), np.int32).copy()
        # The first dimension is the batch only where it stays alone: source and target start with
        # the 1 of the batch, and no other dimension is inferred already.
        if source.shape[0] != 1 or len(shape) == 0 or shape[0] != 1 or -1 in shape:
            continue
        shape[0] = -1
        fresh = schema.BufferT()
        fresh.data = np.frombuffer(shape.tobytes(), np.uint8)
        # A buffer of its own: the constant may be shared with an op that needs the 1.
        model.buffers.append(fresh)
        own = schema.TensorT()
        own.name = text_of(wanted.name) + "/batch"
        own.shape, own.type, own.buffer = wanted.shape, wanted.type, len(model.buffers) - 1
        graph.tensors.append(own)
        operator.inputs = np.array([operator.inputs[0], len(graph.tensors) - 1], np.int32)
        if operator.builtinOptions is not None:
            operator.builtinOptions.newShape = shape
