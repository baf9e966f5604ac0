"""A TFLite file that shows each of its tensors."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import flatbuffers
import numpy as np

from edgeward.convert.artifact.locate import locate_ops
from edgeward.convert.artifact.tflite import DTYPES, FILE_IDENTIFIER, parse, read_nodes, text_of
from edgeward.convert.layers.probe import Grid, Value, Weight, dequantized_weight
from edgeward.runtime.arrays import Array
from edgeward.runtime.backends import BACKENDS, available_backends
from edgeward.runtime.backends.tflite import debug_interpreter
from edgeward.runtime.errors import MissingExtraError, TargetError
from edgeward.runtime.quantization import dequantize, quantize

__all__ = ["TfliteProbe"]

_GRIDS = ("int8", "uint8", "int16")


class TfliteProbe:
    """See ``convert.layers.probe.Probe``. What happens inside a loop stays hidden.

    Args:
        data: The file, with a batch of 1.
        backend: Compute with the kernels that this backend uses by default; None takes kernels
            that leave every layer as it is, of any installed runtime.

    Raises:
        InvalidModelError: It is no TFLite file.
        MissingExtraError: No interpreter is installed.
        TargetError: No installed interpreter can run it.
    """

    def __init__(self, data: bytes, backend: str | None = None) -> None:
        self._data = data
        self._model = parse(data)
        graph = self._model.subgraphs[0]
        names = [text_of(tensor.name) for tensor in graph.tensors]
        # Two tensors of one name cannot be told apart in another file.
        self._index = {name: i for i, name in enumerate(names) if names.count(name) == 1}
        self._fed = {names[int(i)]: int(i) for i in graph.inputs}
        self._grids = {i: _grid(tensor) for i, tensor in enumerate(graph.tensors)}
        self.weights: Mapping[str, Weight] = _weights(self._model, graph)
        self.values: Mapping[str, Value] = self._read_values(names)
        self._stateful = any(tensor.isVariable for tensor in graph.tensors)
        if backend is None:
            self._interpreter = _open(data)
        else:
            module = BACKENDS[backend][1]
            self._interpreter = debug_interpreter(_showing(data), module, delegates=True)

    def _read_values(self, names: list[str]) -> dict[str, Value]:
        values = {
            name: Value("INPUT", name, (), (), self._grids[i]) for name, i in self._fed.items()
        }
        located = zip(read_nodes(self._data), locate_ops(self._data), strict=True)
        for node, location in located:
            if node.subgraph:
                continue
            reads = tuple(t.name for t in node.inputs if not t.constant)
            weights = tuple(t.name for t in node.inputs if t.constant and t.name in self.weights)
            for tensor in node.outputs:
                grid = self._grids[tensor.index]
                values[names[tensor.index]] = Value(node.op, location.layer, reads, weights, grid)
        return values

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """See ``Probe.run``."""
        interpreter = self._interpreter
        if self._stateful:
            interpreter.reset_all_variables()
        for name, index in self._fed.items():
            grid, array = self._grids[index], feed[name]
            if grid is not None:
                array = quantize(array, grid.scale, grid.zero_point, grid.dtype)
            interpreter.set_tensor(index, array)
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise TargetError("The runtime failed on this model.", received=error) from None
        values: dict[str, Array] = {}
        for name in self.values:
            if name not in self._index:
                continue
            try:
                array = interpreter.get_tensor(self._index[name])
            except ValueError:  # memory that this runtime does not keep
                continue
            grid = self._grids[self._index[name]]
            if grid is not None:
                values[name] = dequantize(array, grid.scale, grid.zero_point)
            elif array.dtype == np.float32:
                values[name] = array
        return values

    def cut(self, names: Collection[str]) -> TfliteProbe:
        """See ``Probe.cut``."""
        model = parse(self._data)
        graph = model.subgraphs[0]
        fed: dict[int, int] = {}
        for operator in graph.operators:
            inputs = np.array(operator.inputs, np.int32)
            for place, index in enumerate(inputs):
                name = text_of(graph.tensors[index].name) if index >= 0 else ""
                if name in names and index not in graph.inputs and name in self._index:
                    if index not in fed:
                        clone = copy.copy(graph.tensors[index])
                        clone.name = name
                        graph.tensors.append(clone)
                        fed[int(index)] = len(graph.tensors) - 1
                    inputs[place] = fed[int(index)]
            operator.inputs = inputs
        graph.inputs = np.array([*graph.inputs, *fed.values()], np.int32)
        made = copy.copy(self)
        made._data = _packed(model, len(self._data))
        made._fed = {text_of(graph.tensors[int(i)].name): int(i) for i in graph.inputs}
        made._grids = {i: _grid(tensor) for i, tensor in enumerate(graph.tensors)}
        made._interpreter = _open(made._data)
        return made


def _showing(data: bytes) -> bytes:
    """Return the file with every tensor that an op computes as an output."""
    model = parse(data)
    graph = model.subgraphs[0]
    computed = [int(i) for operator in graph.operators for i in operator.outputs]
    outputs = dict.fromkeys([*(int(i) for i in graph.outputs), *computed])
    graph.outputs = np.array([i for i in outputs if not graph.tensors[i].isVariable], np.int32)
    return _packed(model, len(data))


def _packed(model: Any, size: int) -> bytes:
    # They describe the inputs and outputs that the file had.
    model.signatureDefs = None
    builder = flatbuffers.Builder(size + 1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _open(data: bytes) -> Any:
    failures = []
    for name in available_backends("tflite"):
        try:
            return debug_interpreter(data, BACKENDS[name][1])
        except TargetError as error:
            failures.append(f"{name}: {error.received}")
    if not failures:
        raise MissingExtraError("An interpreter to look into TFLite files", "litert")
    raise TargetError("No installed runtime can look into this file.", received=failures)


def _grid(tensor: Any) -> Grid | None:
    dtype, read = DTYPES[tensor.type], tensor.quantization
    if dtype not in _GRIDS or read is None or read.scale is None or len(read.scale) != 1:
        return None
    zero = 0 if read.zeroPoint is None else int(read.zeroPoint[0])
    return Grid(float(np.float32(read.scale[0])), zero, dtype)


def _weights(model: Any, graph: Any) -> dict[str, Weight]:
    weights: dict[str, Weight] = {}
    for tensor in graph.tensors:
        content, dtype = model.buffers[tensor.buffer].data, DTYPES[tensor.type]
        if content is None or dtype not in ("float32", "int8", "int32", "int64"):
            continue
        shape = [] if tensor.shape is None else [int(d) for d in tensor.shape]
        values = np.frombuffer(bytes(content), dtype)
        read = tensor.quantization
        if values.size != np.prod(shape, dtype=int):
            continue  # packed in a way that this does not know
        values = values.reshape(shape)
        if dtype == "float32":
            weights[text_of(tensor.name)] = Weight(values.astype(np.float64), np.zeros(()), 0)
        elif read is not None and read.scale is not None and len(read.scale) and shape:
            zeros = np.zeros(1) if read.zeroPoint is None else np.array(read.zeroPoint)
            weights[text_of(tensor.name)] = dequantized_weight(
                values, np.array(read.scale), zeros, int(read.quantizedDimension)
            )
    return weights
