"""The ops of a TFLite graph one by one, with the tensors that they touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convert.graph import DTYPES, is_custom, op_name, parse, text_of

__all__ = ["Node", "NodeTensor", "read_nodes"]


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
