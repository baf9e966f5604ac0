"""Read TFLite files: tensors, ops in their order, the whole graph. FlatBuffers only, no TensorFlow.

The schema comes with ai-edge-litert, which is generated from the runtime's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeward.runtime.artifact import Op
from edgeward.runtime.errors import InvalidModelError

__all__ = [
    "DTYPES",
    "FILE_IDENTIFIER",
    "Graph",
    "GraphTensor",
    "Node",
    "NodeTensor",
    "is_custom",
    "op_name",
    "parse",
    "read_graph",
    "read_nodes",
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


@dataclass(frozen=True)
class NodeTensor:
    """A tensor as one op sees it.

    Attributes:
        index: Its place in the subgraph.
        name: Its name in the file.
        dtype: numpy name of its dtype.
        constant: Whether the file holds its content.
        variable: Whether it keeps its content between invocations.
        dynamic: Whether the file leaves a dimension open.
        edge: Whether it is an input or output of the model.
    """

    index: int
    name: str
    dtype: str
    constant: bool
    variable: bool
    dynamic: bool
    edge: bool


@dataclass(frozen=True)
class Node:
    """One op of a TFLite graph, where it stands.

    Attributes:
        op: Name of the builtin op, or the name of the custom op.
        version: Its version.
        custom: Whether it is a custom op (``Flex...`` runs TensorFlow).
        subgraph: Number of the subgraph; loops have subgraphs of their own.
        inputs: Tensors that it reads; optional ones that are left out do not appear.
        outputs: Tensors that it writes.
    """

    op: str
    version: int
    custom: bool
    subgraph: int
    inputs: tuple[NodeTensor, ...]
    outputs: tuple[NodeTensor, ...]


def read_nodes(data: bytes) -> tuple[Node, ...]:
    """Read the ops of a TFLite file one by one, in the order in which they run.

    Raises:
        InvalidModelError: It is no TFLite file.
    """
    model = parse(data)

    edges = {int(i) for i in (*model.subgraphs[0].inputs, *model.subgraphs[0].outputs)}

    def tensor(graph: Any, index: int) -> NodeTensor:
        read = graph.tensors[index]
        signature = read.shapeSignature if read.shapeSignature is not None else []
        return NodeTensor(
            index=index,
            name=text_of(read.name),
            dtype=DTYPES[read.type],
            constant=model.buffers[read.buffer].data is not None,
            variable=bool(read.isVariable),
            dynamic=-1 in list(signature),
            edge=graph is model.subgraphs[0] and index in edges,
        )

    def tensors(graph: Any, indices: Any) -> tuple[NodeTensor, ...]:
        given = indices if indices is not None else []
        return tuple(tensor(graph, int(i)) for i in given if i >= 0)

    return tuple(
        Node(
            op_name(model.operatorCodes[operator.opcodeIndex]),
            int(model.operatorCodes[operator.opcodeIndex].version),
            is_custom(model.operatorCodes[operator.opcodeIndex]),
            number,
            tensors(graph, operator.inputs),
            tensors(graph, operator.outputs),
        )
        for number, graph in enumerate(model.subgraphs)
        for operator in graph.operators or []
    )
