"""An ONNX file, float or in QDQ form, that shows each of its tensors."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeward.convert.artifact.locate import locate_ops
from edgeward.convert.layers.probe import Grid, Value, Weight, dequantized_weight
from edgeward.runtime.arrays import Array
from edgeward.runtime.backends.onnx import debug_session
from edgeward.runtime.errors import InvalidModelError

__all__ = ["OnnxProbe"]

_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"

# What onnxruntime's quantiser appends to the name of a tensor or weight that it takes over.
_SUFFIXES = ("_QuantizeLinear_Input", "_quantized")


class OnnxProbe:
    """See ``convert.layers.probe.Probe``.

    A quantised tensor goes by the name that it has in the float file, and its value is the one
    after rounding. The session does not fuse anything: it computes in float between the roundings.

    Args:
        data: The file.

    Raises:
        InvalidModelError: It is no ONNX file.
        TargetError: onnxruntime cannot run it.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._model = onnx.load_model_from_string(data)
        except Exception as error:  # protobuf's classes differ between versions
            raise InvalidModelError("This is no ONNX file.", received=error) from None
        graph = self._model.graph
        self._constants = {t.name: t for t in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._inputs = [i.name for i in graph.input if i.name not in self._constants]
        self._fed = list(self._inputs)
        self.weights: Mapping[str, Weight] = self._read_weights()
        # Name in the float file -> name of the tensor that holds the value after rounding.
        self._shown: dict[str, str] = {}
        self.values: Mapping[str, Value] = self._read_values()
        self._session = debug_session(self._showing())

    def _constant(self, name: str) -> Array:
        return np.asarray(numpy_helper.to_array(self._constants[name]))

    def _read_weights(self) -> dict[str, Weight]:
        weights = {
            name: Weight(self._constant(name).astype(np.float64), np.zeros(()), 0)
            for name, tensor in self._constants.items()
            if tensor.data_type == onnx.TensorProto.FLOAT
        }
        for node in self._model.graph.node:
            given = list(node.input)
            if node.op_type == _DEQUANTISE and all(name in self._constants for name in given):
                values, scales = self._constant(given[0]), self._constant(given[1])
                zeros = self._constant(given[2]) if len(given) > 2 else np.zeros(1)
                axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
                axis = axis % values.ndim if values.ndim > 1 else 0
                weights[_plain(given[0])] = dequantized_weight(values, scales, zeros, axis)
        return weights

    def _read_values(self) -> dict[str, Value]:
        grids: dict[str, Grid | None] = {}
        aliases: dict[str, str] = {}
        for node in self._model.graph.node:
            if node.op_type == _QUANTISE:
                grids[_plain(node.input[0])] = self._grid(node)
                aliases[node.output[0]] = _plain(node.input[0])
            elif node.op_type == _DEQUANTISE:
                origin = aliases.get(node.input[0], _plain(node.input[0]))
                aliases[node.output[0]] = origin
                if origin not in self.weights:
                    self._shown.setdefault(origin, node.output[0])
        values = {name: Value("INPUT", name, (), (), grids.get(name)) for name in self._inputs}
        located = [op for op in locate_ops(self._model.SerializeToString()) if op.op != "IR"]
        for place, node in enumerate(self._model.graph.node):
            if node.op_type in (_QUANTISE, _DEQUANTISE):
                continue
            # Nodes inside a loop have places of their own; beyond one nothing is known.
            known = place < len(located) and located[place].op == node.op_type
            layer = located[place].layer if known else node.name
            given = [aliases.get(name, name) for name in node.input]
            reads = tuple(name for name in given if name in values)
            weights = tuple(name for name in given if name in self.weights)
            for output in node.output:
                name = _plain(output)
                values[name] = Value(node.op_type, layer, reads, weights, grids.get(name))
                self._shown.setdefault(name, output)
        return values

    def _grid(self, node: onnx.NodeProto) -> Grid | None:
        if not all(name in self._constants for name in node.input[1:]):
            return None
        scale = self._constant(node.input[1])
        zero = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
        if scale.size != 1 or zero.dtype.name not in ("int8", "uint8", "int16", "uint16"):
            return None
        return Grid(float(scale.ravel()[0]), int(zero.ravel()[0]), zero.dtype.name)

    def _showing(self) -> bytes:
        """Return the file with every tensor as an output."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        have = {o.name for o in model.graph.output} | {i.name for i in model.graph.input}
        for name in self._shown.values():
            if name not in have:
                # Without type or shape: onnxruntime infers both.
                model.graph.output.append(helper.ValueInfoProto(name=name))
        return bytes(model.SerializeToString())

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """See ``Probe.run``."""
        shown = {tensor: name for name, tensor in self._shown.items()}
        wanted = [o.name for o in self._session.get_outputs() if o.name in shown]
        tensors = self._session.run(wanted, {_fed(n, self._inputs): feed[n] for n in self._fed})
        values = {name: feed[name] for name in self._inputs if name not in self._shown}
        values |= {shown[name]: array for name, array in zip(wanted, tensors, strict=True)}
        return {name: array for name, array in values.items() if array.dtype == np.float32}

    def cut(self, names: Collection[str]) -> OnnxProbe:
        """See ``Probe.cut``."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        fed: list[str] = []
        for node in model.graph.node:
            for place, name in enumerate(node.input):
                if name in names and name in self._makers:
                    node.input[place] = _fed(name, self._inputs)
                    fed += [] if name in fed else [name]
        model.graph.input.extend(
            helper.make_tensor_value_info(_fed(name, self._inputs), onnx.TensorProto.FLOAT, None)
            for name in fed
        )
        made = copy.copy(self)
        made._model = model
        made._fed = [*self._inputs, *fed]
        made._session = debug_session(made._showing())
        return made


def _plain(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _fed(name: str, inputs: Collection[str]) -> str:
    return name if name in inputs else f"{name}/fed"
