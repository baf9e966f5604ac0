"""Keras model to ONNX bytes. Runs in the worker process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgeward.convert.export.histogram import Histogram
from edgeward.convert.export.models import Maker, Models
from edgeward.convert.export.onnx_graph import canonicalise, expand_erfc, lean, renumber
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.settings import DEFAULT, Settings
from edgeward.convert.variants import DYNAMIC, Variant
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import TargetError

__all__ = ["OPSET", "OnnxMaker", "float_graph", "to_onnx"]

# The newest opset that tf2onnx 1.17 writes well; onnxruntime reads it since 1.12.
OPSET = 17

# Samples in one call where the values of every activation are read.
_BATCH = 16


class OnnxMaker(Maker):
    """Makes the ONNX artifacts of a model."""

    def __init__(self, models: Models) -> None:
        super().__init__(models)
        # Whether channels are equalised -> the float graph.
        self._protos: dict[bool, Any] = {}

    def nearest(self, variant: Variant) -> tuple[Variant, str]:
        """Return the variant, but for calibrated ones of recurrent nets; and why."""
        if not variant.calibrated or not self.models.recurrent:
            return variant, ""
        return DYNAMIC, (
            f"ONNX has no static int8 form of {self.models.recurrent[0]}; its weights are int8, "
            "its activations are quantised as they come"
        )

    def make(self, variant: Variant, settings: Settings) -> tuple[bytes, bool]:
        """Return the file, and that it keeps no state."""
        equal = settings.equalise
        if equal not in self._protos:
            self._protos[equal] = float_graph(self.models.model(equal))
        samples = self.models.samples(settings)
        return to_onnx(self._protos[equal], variant, samples, settings), False


def float_graph(loaded: LoadedModel) -> Any:
    """Convert the model once, with a dynamic batch, for every ONNX variant.

    Raises:
        TargetError: tf2onnx cannot express the model.
    """
    try:
        proto, _ = tf2onnx.convert.from_function(
            tf.function(lambda *tensors: loaded.call(*tensors)),
            input_signature=loaded.signature(None),
            opset=OPSET,
        )
        expand_erfc(proto.graph)
        onnx.checker.check_model(proto)
    except Exception as error:  # tf2onnx lets errors of every library it uses through
        raise TargetError(
            "ONNX cannot hold this model.", received=f"{type(error).__name__}: {error}"
        ) from None
    _name_edges(proto, loaded)
    slim = lean(proto)
    canonicalise(slim)
    renumber(slim)
    onnx.checker.check_model(slim)
    return slim


def _name_edges(proto: Any, loaded: LoadedModel) -> None:
    for node, name in zip(proto.graph.input, loaded.inputs, strict=True):
        if node.name != name:
            raise TargetError("tf2onnx renamed an input.", received=node.name, expected=name)
    have = sorted(node.name for node in proto.graph.output)
    if have != sorted(loaded.outputs):
        raise TargetError("tf2onnx renamed an output.", received=have, expected=loaded.outputs)
    # tf2onnx loses sizes behind a Loop; the model knows them.
    sizes = {spec.name: spec.shape for spec in loaded.results()}
    for node in proto.graph.output:
        dims = node.type.tensor_type.shape.dim
        for dim, size in zip(dims, sizes[node.name], strict=False):
            if size is not None:
                dim.dim_value = int(size)
    # A host name or a build path in the producer fields would make two builds differ.
    proto.doc_string = ""
    proto.graph.name = "edgeward"


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Mapping[str, Array]) -> None:
        count = len(next(iter(samples.values())))
        self._feeds = iter(
            {name: array[i : i + 1] for name, array in samples.items()} for i in range(count)
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def to_onnx(
    proto: Any, variant: Variant, samples: Mapping[str, Array], settings: Settings = DEFAULT
) -> bytes:
    """Convert one variant.

    Args:
        proto: What ``float_graph`` gave; the same for every variant.
        variant: How to quantise.
        samples: Input name -> preprocessed calibration samples ``[N, ...]``.
        settings: Ranges of the activations.

    Returns:
        An ONNX file, the same bytes each time. FLOAT16 keeps float32 inputs and outputs. INT8 is
        QDQ with per-channel int8 weights and uint8 activations; its input and output stay float32,
        as onnxruntime expects. DYNAMIC has int8 weights and quantises activations as they come.

    Raises:
        TargetError: The quantiser cannot express the model.
    """
    if variant.weights == "float32":
        return bytes(proto.SerializeToString())
    if variant.weights == "float16":
        return _halve(proto)
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, quantised = (Path(folder) / f"{n}.onnx" for n in ("a", "b", "c"))
        plain.write_bytes(proto.SerializeToString())
        try:
            # Folds what can be folded before scales are fixed around it.
            quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
            if not variant.calibrated:
                quantize_dynamic(str(prepared), str(quantised), weight_type=QuantType.QInt8)
            else:
                quantize_static(
                    str(prepared),
                    str(quantised),
                    _Reader(samples),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    extra_options=_ranges(prepared, settings.method, samples),
                )
        except Exception as error:
            raise TargetError(
                f"onnxruntime cannot quantise this model as {variant.id}.",
                received=f"{type(error).__name__}: {error}",
            ) from None
        result = onnx.load(str(quantised))
        canonicalise(result)
        return bytes(result.SerializeToString())


def _ranges(prepared: Path, method: str, samples: Mapping[str, Array]) -> dict[str, Any] | None:
    """Return the option that sets ranges of activations; None where the extremes are taken."""
    if method == DEFAULT.method:
        return None
    augmented = str(prepared.with_name("augmented.onnx"))
    # Of its calibrator only the graph is used that also gives every activation: it keeps the
    # values of all samples in memory.
    session = create_calibrator(
        prepared, augmented_model_path=augmented, calibrate_method=CalibrationMethod.Percentile
    ).infer_session
    model = onnx.load(str(prepared))
    edges = {node.name for node in (*model.graph.input, *model.graph.output)}
    names = [node.name for node in session.get_outputs() if node.name not in edges]
    extremes: dict[str, tuple[float, float]] = {}
    for name, values in _values(session, names, samples):
        low, high = extremes.get(name, (np.inf, -np.inf))
        extremes[name] = min(low, float(values.min())), max(high, float(values.max()))
    histograms = {name: Histogram(*pair) for name, pair in extremes.items()}
    for name, values in _values(session, names, samples):
        histograms[name].add(values)
    chosen = {name: histogram.range(method) for name, histogram in histograms.items()}
    return {
        "TensorQuantOverrides": {
            name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
            for name, (low, high) in chosen.items()
        }
    }


def _values(
    session: Any, names: list[str], samples: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    for start in range(0, len(next(iter(samples.values()))), _BATCH):
        feed = {name: array[start : start + _BATCH] for name, array in samples.items()}
        yield from zip(names, session.run(names, feed), strict=True)


def _halve(proto: Any) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)  # the converter changes what it is given
    try:
        half = convert_float_to_float16(copy, keep_io_types=True)
        # It adds its casts at the end; the standard wants each node after those it reads.
        canonicalise(half)
        onnx.checker.check_model(half)
    except Exception as error:  # it lets errors of every kind through
        raise TargetError(
            "onnxruntime cannot make this model float16.",
            received=f"{type(error).__name__}: {error}",
        ) from None
    return bytes(half.SerializeToString())
