"""ONNX graphs made lean, and always the same.

Lean: what runtimes lack is written in other ops, and what does nothing is taken out. The same: one
graph is one file. tf2onnx, onnxslim and onnxruntime walk sets, whose order is another in each
process: tf2onnx numbers what it makes in that order, from a counter that goes on from one model to
the next, and of equal constants keeps any. What follows here depends on nothing but the graph.
Runs in the worker process.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import onnxslim
from onnx import numpy_helper

from edgeward.runtime.errors import TargetError

__all__ = ["canonicalise", "expand_erfc", "lean", "renumber"]

# Ops whose initial states are zeros where they are left out: op -> places of those inputs.
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}

# What a tensor of one value is filled with.
_FILLS = ("Expand", "ConstantOfShape")

_MOVES = ("Unsqueeze", "Reshape", "Squeeze", "Transpose", "Identity", "Cast")

# What tf2onnx appends to a name that it makes, once or several times: "Transpose__30:0".
_NUMBERS = re.compile(r"(?:__\d+)+(?![\w/])")

# What has more values is a weight, and its name says of which layer.
_SMALL = 64


def lean(proto: Any) -> Any:
    """Return the same graph with fewer nodes: same names at its edges, same answers.

    Args:
        proto: An ``onnx.ModelProto``; it is not changed.

    Raises:
        TargetError: The result is no valid graph, or has other edges.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    _drop_zero_states(copy.graph)
    slim = onnxslim.slim(copy)
    edges = [[value.name for value in side] for side in (proto.graph.input, proto.graph.output)]
    have = [[value.name for value in side] for side in (slim.graph.input, slim.graph.output)]
    try:
        onnx.checker.check_model(slim)
    except Exception as error:  # the checker's classes differ between versions
        raise TargetError("onnxslim made an invalid graph.", received=error) from None
    if have != edges:
        raise TargetError("onnxslim renamed an edge.", received=have, expected=edges)
    slim.doc_string, slim.graph.name = proto.doc_string, proto.graph.name
    return slim


def expand_erfc(graph: Any) -> None:
    """Write Erfc, which ONNX does not have, as 1 - Erf, in place; Keras' exact GELU needs it."""
    if not any(node.op_type == "Erfc" for node in graph.node):
        return
    graph.initializer.append(numpy_helper.from_array(np.array(1.0, np.float32), "erfc/one"))
    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        erf = f"{node.output[0]}/erf"
        nodes.append(onnx.helper.make_node("Erf", node.input, [erf], name=f"{node.name}/erf"))
        nodes.append(
            onnx.helper.make_node("Sub", ["erfc/one", erf], node.output, name=f"{node.name}/sub")
        )
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_zero_states(graph: Any) -> None:
    """Leave out initial states that are zeros for each sample: they are what no input means."""
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}

    def is_zero(name: str) -> bool:
        if name in constants:
            return not np.any(numpy_helper.to_array(constants[name]))
        node = makers.get(name)
        if node is None:
            return False
        if node.op_type == "ConstantOfShape":
            values = [a.t for a in node.attribute if a.name == "value"]
            return not values or not np.any(numpy_helper.to_array(values[0]))
        if node.op_type == "Constant":
            tensors = [a.t for a in node.attribute if a.name == "value"]
            return bool(tensors) and not np.any(numpy_helper.to_array(tensors[0]))
        return node.op_type in (*_FILLS, *_MOVES) and is_zero(node.input[0])

    for node in graph.node:
        for place in _STATES.get(node.op_type, ()):
            if place < len(node.input) and node.input[place] and is_zero(node.input[place]):
                node.input[place] = ""


def canonicalise(proto: Any) -> None:
    """Put nodes, constants and all other lists into the order that the graph itself gives.

    A node comes right after what it reads, in the order in which it reads it, beginning at the
    first output of the model; a constant has the place of its first use.

    Args:
        proto: A valid ``onnx.ModelProto``; changed in place.
    """
    _order(proto.graph, set(_names(proto.graph)))
    proto.opset_import.sort(key=lambda one: one.domain)
    proto.metadata_props.sort(key=lambda one: one.key)


def renumber(proto: Any) -> None:
    """Count the names that tf2onnx made from 1, in the order in which they are met.

    Small constants get new names: of equal ones any may have been kept for all of them.

    Args:
        proto: What ``canonicalise`` has put in order; changed in place. The names at its edges
            are those of the model, and stay.
    """
    edges = {value.name for side in (proto.graph.input, proto.graph.output) for value in side}
    kept = {numbers for name in edges for numbers in _NUMBERS.findall(name)}
    free = (f"__{i}" for i in itertools.count(1) if f"__{i}" not in kept)
    small = set(_small(proto.graph)) - edges
    given: dict[str, str] = {}
    constants: dict[str, str] = {}
    for name in _names(proto.graph):
        if name in small and name not in constants:
            constants[name] = f"constant{next(free)}"
        for numbers in () if name in small or name in edges else _NUMBERS.findall(name):
            if numbers not in given:
                given[numbers] = next(free)

    def fresh(name: str) -> str:
        if name in edges or name in constants:
            return constants.get(name, name)
        return _NUMBERS.sub(lambda found: given[found[0]], name)

    _rename(proto.graph, fresh)
    sizes: dict[str, str] = {}
    for value in (*proto.graph.input, *proto.graph.output, *_values(proto.graph)):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = sizes.setdefault(dim.dim_param, f"size_{len(sizes) + 1}")


def _order(graph: Any, taken: set[str]) -> None:
    for node in graph.node:
        node.attribute.sort(key=lambda one: one.name)
        if not node.domain:
            node.ClearField("domain")  # said to be empty or not said: two files
        for inner in _inside(node):
            inner.name = node.op_type  # TensorFlow numbers the functions that they come from
            _drop_aliases(inner, taken)
            _order(inner, taken)
    reads = [list(_reads(node)) for node in graph.node]
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    ends = [makers[value.name] for value in graph.output if value.name in makers]
    places: dict[int, int] = {}
    for end in (*ends, *range(len(graph.node))):
        path = [end]
        while path:
            needed = (makers[name] for name in reads[path[-1]] if name in makers)
            missing = next((i for i in needed if i not in places), None)
            if missing is None:
                places.setdefault(path.pop(), len(places))
            else:
                path.append(missing)
    order = sorted(places, key=places.__getitem__)
    uses: dict[str, int] = {}
    for i in order:
        for name in (*reads[i], *graph.node[i].output):
            uses.setdefault(name, len(uses))
    nodes = [graph.node[i] for i in order]
    del graph.node[:]
    graph.node.extend(nodes)
    for values in (graph.initializer, graph.value_info):
        values.sort(key=lambda one: (uses.get(one.name, len(uses)), one.name))


def _drop_aliases(graph: Any, taken: set[str]) -> None:
    """Give each value of an inner graph one name; an Identity stays only for a second output.

    Of a value with two names the writers keep any: that of the first output that it is, or else
    the name of its maker takes the place of all of them.
    """
    makers = {name: node for node in graph.node for name in node.output if name}
    aliases = {
        name: node.input[0]
        for name, node in makers.items()
        if node.op_type == "Identity" and node.input[0] in makers
    }

    def origin(name: str) -> str:
        while name in aliases:
            name = aliases[name]
        return name

    ends = list(dict.fromkeys(value.name for value in graph.output if value.name in makers))
    chosen: dict[str, str] = {}
    for name in ends:
        chosen.setdefault(origin(name), name)
    for name, node in makers.items():
        if name not in aliases and node.name:
            own = f"{node.name}:{list(node.output).index(name)}"
            # A name may be in use in any graph around this one or beside it.
            free = own not in taken or origin(own) == name
            if free and name not in chosen:
                taken.add(own)
                chosen[name] = own
    kept = [node for node in graph.node if not any(name in aliases for name in node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    names = {name: chosen.get(origin(name), origin(name)) for name in makers}
    _rename(graph, lambda name: names.get(name, name), nodes=False)
    for name in ends:
        if names[name] != name:
            graph.node.add(op_type="Identity", name=name, input=[names[name]], output=[name])
    del graph.value_info[:]


def _inside(node: Any) -> Iterator[Any]:
    """Yield the graphs that a node holds: the body of a Loop, the branches of an If."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _graphs(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield from _inside(node)


def _reads(node: Any) -> Iterator[str]:
    """Yield the names that a node reads; its graphs read what is outside of them as well."""
    yield from node.input
    for graph in _inside(node):
        for inner in graph.node:
            yield from _reads(inner)
        yield from (value.name for value in graph.output)


def _names(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield from (node.name, *node.input, *node.output)
        for inner in _inside(node):
            yield from (value.name for value in inner.input)
            yield from _names(inner)
            yield from (value.name for value in inner.output)
    yield from (one.name for one in (*graph.initializer, *graph.value_info))


def _small(graph: Any) -> Iterator[str]:
    for one in graph.initializer:
        if math.prod(one.dims) <= _SMALL:
            yield one.name
    for inner in _graphs(graph):
        yield from _small(inner)


def _values(graph: Any) -> Iterator[Any]:
    """Yield what is said about the tensors inside of a graph."""
    yield from graph.value_info
    for inner in _graphs(graph):
        yield from (*inner.input, *inner.output)
        yield from _values(inner)


def _rename(graph: Any, fresh: Callable[[str], str], *, nodes: bool = True) -> None:
    for node in graph.node:
        node.name = fresh(node.name) if nodes else node.name
        node.input[:] = [fresh(name) for name in node.input]
        node.output[:] = [fresh(name) for name in node.output]
        for inner in _inside(node):
            for value in (*inner.input, *inner.output):
                value.name = fresh(value.name)
            _rename(inner, fresh, nodes=nodes)
    for one in (*graph.initializer, *graph.value_info):
        one.name = fresh(one.name)
    for note in graph.quantization_annotation:
        note.tensor_name = fresh(note.tensor_name)
        for entry in note.quant_parameter_tensor_names:
            entry.value = fresh(entry.value)
