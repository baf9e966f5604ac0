"""TFLite's quantiser with other ranges and with layers in float. Runs in the worker process.

The converter works in two steps, both reachable on their own: it writes a float graph in which
each activation carries its extremes, then makes integers of it. In between the ranges can be
replaced, and to the second step layers can be named that stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize

from edgeward.convert.artifact.tflite import FILE_IDENTIFIER, op_name, parse, text_of
from edgeward.convert.export.histogram import Histogram
from edgeward.convert.settings import Settings
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import TargetError

__all__ = ["quantise_with"]

Feeds = Callable[[], Iterator[list[Array]]]


def quantise_with(
    converter: Any, settings: Settings, feeds: Feeds, edges: Mapping[str, str]
) -> None:
    """Let a configured converter quantise with these settings.

    All that it does before and after (folding, sharing buffers, metadata) stays its own.

    Args:
        converter: A ``tf.lite.TFLiteConverter`` configured for int8.
        settings: Ranges and float layers.
        feeds: Gives the calibration samples, in the order of the graph's inputs.
        edges: Name of an output in the manifest -> name in the graph.
    """
    calibrate = converter._quantize

    def quantise(graph: bytes, input_type: Any, output_type: Any, *others: Any) -> bytes:
        converter._experimental_calibrate_only = True
        calibrated = calibrate(graph, input_type, output_type, *others)
        _refuse_lstm(calibrated, settings)
        layers = _check_layers(calibrated, settings.float_layers, edges)
        ranged = _with_ranges(calibrated, settings.method, feeds)
        data: bytes = mlir_quantize(
            ranged,
            input_data_type=input_type,
            output_data_type=output_type,
            denylisted_nodes=layers or None,
        )
        return data

    converter._quantize = quantise


def _refuse_lstm(calibrated: bytes, settings: Settings) -> None:
    model = parse(calibrated)
    names = {op_name(code) for code in model.operatorCodes}
    fused = sorted(name for name in names if "SEQUENCE_LSTM" in name)
    if fused:
        # Its gates have ranges of their own, and no interpreter shows their values.
        raise TargetError(
            "TFLite cannot hold this model with these settings.",
            received=f"{fused[0]} and {settings.describe()}",
            expected="min-max ranges: the values inside the fused op cannot be seen",
        )


def _check_layers(
    calibrated: bytes, layers: tuple[str, ...], edges: Mapping[str, str]
) -> list[str]:
    model = parse(calibrated)
    written = [
        text_of(graph.tensors[index].name)
        for graph in model.subgraphs
        for operator in graph.operators
        for index in operator.outputs
    ]
    wanted = [edges.get(name, name) for name in layers]
    unknown = [name for name, own in zip(layers, wanted, strict=True) if own not in written]
    if unknown:
        shown = {own: name for name, own in edges.items()}
        raise TargetError(
            "No op of the model writes a tensor of this name.",
            received=", ".join(unknown),
            expected=", ".join(shown.get(name, name) for name in written),
        )
    return wanted


def _with_ranges(calibrated: bytes, method: str, feeds: Feeds) -> bytes:
    """Return the calibrated graph with the ranges that the method chooses."""
    if method == "min-max":
        return calibrated
    model = parse(calibrated)
    graph = model.subgraphs[0]
    edges = {int(index) for index in (*graph.inputs, *graph.outputs)}
    histograms = {
        index: Histogram(tensor.quantization.min[0], tensor.quantization.max[0])
        for index, tensor in enumerate(graph.tensors)
        if index not in edges
        and tensor.quantization is not None
        and tensor.quantization.min is not None
        and len(tensor.quantization.min) == 1
    }
    for read in _values(calibrated, feeds):
        for index, histogram in histograms.items():
            histogram.add(read(index))
    for index, histogram in histograms.items():
        low, high = histogram.range(method)
        quantization = graph.tensors[index].quantization
        quantization.min = np.array([low], np.float32)
        quantization.max = np.array([high], np.float32)
    builder = flatbuffers.Builder(len(calibrated) + 1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _values(graph: bytes, feeds: Feeds) -> Iterator[Callable[[int], Array]]:
    """Run the graph on each sample; yield what reads a tensor by its number."""
    interpreter = tf.lite.Interpreter(
        model_content=graph,
        experimental_preserve_all_tensors=True,
        # A delegate keeps the tensors inside it to itself.
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    for feed in feeds():
        for index, array in zip(inputs, feed, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        yield interpreter.get_tensor
