"""Frozen function to canonical TFLite bytes. Runs in the worker process."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from edgeward.convert.artifact.tflite import FILE_IDENTIFIER, op_name, parse, text_of
from edgeward.convert.export.fused_lstm import can_fuse, save_fused, with_usable_cell_state
from edgeward.convert.export.models import Maker, Models
from edgeward.convert.export.tflite_graph import freeze, quantisable
from edgeward.convert.export.tflite_quantiser import quantise_with
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.settings import DEFAULT, OLDEST, Settings, Switches
from edgeward.convert.variants import Variant
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import TargetError

__all__ = ["TfliteMaker", "canonicalise", "to_tflite", "to_tflite_fused"]


class TfliteMaker(Maker):
    """Makes the TFLite artifacts of a model."""

    def __init__(self, models: Models) -> None:
        super().__init__(models)
        # Whether loops are unrolled and channels equalised -> model and frozen function.
        self._forms: dict[tuple[bool, bool], tuple[LoadedModel, Any]] = {}

    def make(self, variant: Variant, settings: Settings) -> tuple[bytes, bool]:
        """Return the file, and whether it keeps state between invocations."""
        loaded, switches = self.models.loaded, self.models.switches
        wide = variant.activations == "int16"
        integers = [spec.name for spec in loaded.signature(1) if spec.dtype.is_integer]
        if wide and integers:
            # "Empty min/max for tensor": it wants a range of what has none.
            raise TargetError(
                f"TFLite cannot hold this model as {variant.id}.",
                received=f"integer input {integers[0]!r}",
                expected="float inputs: the converter of TensorFlow 2.21 has no 16x8 form of ids",
                fix="int8 or dynamic",
            )
        if loaded.loops and variant.calibrated:
            raise TargetError(
                f"TFLite cannot hold this model as {variant.id}.",
                received="a SavedModel with a loop",
                expected="the Keras file, whose recurrent layers can be unrolled",
                fix="convert model.keras instead of the SavedModel",
            )
        # The calibrator dies of the WHILE loop of a recurrent layer (segmentation fault).
        loop = bool(self.models.recurrent) and variant.calibrated
        model = self.models.model(settings.equalise)
        samples = self.models.samples(settings)
        # The fused op has no kernel with int16 activations.
        if loop and not wide and can_fuse(model):
            folder = Path(tempfile.mkdtemp(prefix=f"fused-{variant.id}-", dir=self.models.folder))
            return to_tflite_fused(model, folder, variant, samples, switches, settings), True
        key = (loop, settings.equalise)
        if key not in self._forms:
            form = model.unrolled() if loop else model
            self._forms[key] = (form, quantisable(freeze(form), slices=loop))
        form, frozen = self._forms[key]
        return to_tflite(form, frozen, variant, samples, switches, settings), False


def to_tflite(
    loaded: LoadedModel,
    frozen: Any,
    variant: Variant,
    samples: Mapping[str, Array],
    switches: Switches = OLDEST,
    settings: Settings = DEFAULT,
) -> bytes:
    """Convert one variant.

    Args:
        loaded: The model, for the names of its edges.
        frozen: What ``tflite_graph.freeze`` gave; the same for every variant.
        variant: How to quantise.
        samples: Input name -> preprocessed calibration samples ``[N, ...]``.
        switches: What the target needs of the converter.
        settings: Ranges of the activations, and layers in float.

    Returns:
        A TFLite file with builtin ops only, a batch of 1 that can be resized, and tensors named as
        in the manifest.

    Raises:
        TargetError: The model needs an op that TFLite does not have, or cannot have the settings.
    """
    # The converter names inputs after the arguments and outputs Identity, Identity_1, ... in the
    # order in which the frozen function gives them, which is sorted by name.
    inputs = [tensor.name.split(":")[0] for tensor in frozen.inputs]
    names = [tensor.name.split(":")[0] for tensor in frozen.outputs]
    outputs = dict(zip(names, sorted(loaded.outputs), strict=True))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    _configure(converter, loaded, variant, samples, switches)
    _settle(converter, settings, outputs)
    data = _convert(converter, variant, frozen.graph)
    return canonicalise(data, dict(zip(inputs, loaded.inputs, strict=True)), outputs)


def to_tflite_fused(
    loaded: LoadedModel,
    folder: Path,
    variant: Variant,
    samples: Mapping[str, Array],
    switches: Switches = OLDEST,
    settings: Settings = DEFAULT,
) -> bytes:
    """Convert one variant of a model whose LSTM layers become fused ops.

    Args:
        loaded: A model that ``fused_lstm.can_fuse``.
        folder: An empty folder for the SavedModel.
        variant: How to quantise.
        samples: Input name -> preprocessed calibration samples ``[N, ...]``.
        switches: What the target needs of the converter.
        settings: Ranges of the activations, and layers in float.

    Returns:
        A TFLite file with a static batch of 1 that keeps state between invocations.

    Raises:
        TargetError: The model needs an op that TFLite does not have, or cannot have the settings.
    """
    fused = save_fused(loaded, folder)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    names = sorted(loaded.outputs)
    outputs = {f"StatefulPartitionedCall:{i}": name for i, name in enumerate(names)}
    _configure(converter, fused, variant, samples, switches)
    _settle(converter, settings, outputs)
    data = with_usable_cell_state(_convert(converter, variant))
    return canonicalise(
        data, {f"serving_default_{name}:0": name for name in loaded.inputs}, outputs
    )


def _settle(converter: Any, settings: Settings, outputs: Mapping[str, str]) -> None:
    if settings.method == DEFAULT.method and not settings.float_layers:
        return  # the converter's own way, byte for byte
    own = {name: tensor for tensor, name in outputs.items()}
    quantise_with(converter, settings, converter.representative_dataset, own)


def _convert(converter: Any, variant: Variant, graph: Any = None) -> bytes:
    try:
        data: bytes = converter.convert()
    except TargetError:  # our own, of the settings
        raise
    except Exception as error:  # the converter's error classes are private
        raise TargetError(
            f"TFLite cannot hold this model as {variant.id}.",
            received="\n    ".join([_essence(str(error)), *_places(str(error), graph)]),
            fix="replace the layer named above by one with TFLite builtin ops",
        ) from None
    return data


def _configure(
    converter: Any,
    loaded: LoadedModel,
    variant: Variant,
    samples: Mapping[str, Array],
    switches: Switches,
) -> None:
    sets = tf.lite.OpsSet
    target = converter.target_spec
    target.supported_ops = [sets.TFLITE_BUILTINS]
    if variant.weights == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant.weights == "float16":
        target.supported_types = [tf.float16]
    elif not variant.calibrated:
        # Private; the public way to FULLY_CONNECTED below version 12 (tensorflow#80736).
        converter._experimental_disable_per_channel_quantization_for_dense_layers = (
            switches.per_tensor_dense
        )
    if not variant.calibrated:
        return

    def representative_dataset() -> Iterator[list[Array]]:
        for i in range(len(next(iter(samples.values())))):
            yield [samples[name][i : i + 1] for name in loaded.inputs]

    converter.representative_dataset = representative_dataset
    target.supported_ops = [
        sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        if variant.activations == "int16"
        else sets.TFLITE_BUILTINS_INT8
    ]
    if variant.edges != "float32":
        # Token ids are integers already; the converter refuses to make int8 of them.
        if all(spec.dtype == tf.float32 for spec in loaded.signature(1)):
            converter.inference_input_type = tf.dtypes.as_dtype(variant.edges)
        converter.inference_output_type = tf.dtypes.as_dtype(variant.edges)


def _essence(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "Flex" in line or "custom" in line]
    return "\n    ".join((telling or lines)[:8])[:2000]


def _places(text: str, graph: Any) -> list[str]:
    """Return where the ops are that the converter complains about: it does not say the layer."""
    if graph is None:
        return []
    kinds = set(re.findall(r"'tf\.(\w+)' op", text))
    found = [op.name for op in graph.get_operations() if op.type in kinds]
    return [f"in layer {name.rpartition('/')[0] or name}: {name}" for name in found[:5]]


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
