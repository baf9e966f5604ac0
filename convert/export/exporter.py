"""One artifact after the other from one loaded model. Runs in the worker process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeward.convert.export.fused_lstm import can_fuse
from edgeward.convert.export.onnx import float_graph, to_onnx
from edgeward.convert.export.tflite import to_tflite, to_tflite_fused
from edgeward.convert.export.tflite_graph import freeze, quantisable
from edgeward.convert.model.loaded import LoadedModel, recurrent_layers, unrolled
from edgeward.convert.settings import DEFAULT, Settings, Switches, check_settings
from edgeward.convert.variants import INT16X8, Variant, variant_of
from edgeward.convert.weights.equalise import equalised
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import TargetError

__all__ = ["Exporter"]


class Exporter:
    """Makes artifacts; what several of them start from is made once.

    Args:
        loaded: The model.
        samples: Input name -> preprocessed calibration samples ``[N, ...]``.
        switches: What the target needs of the converter.
        folder: For files in between.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        samples: Mapping[str, Array],
        switches: Switches,
        folder: Path,
    ) -> None:
        self._loaded = loaded
        self._samples = samples
        self._switches = switches
        self._folder = folder
        self._recurrent = recurrent_layers(loaded)
        # Whether loops are unrolled and channels equalised -> model and frozen function.
        self._forms: dict[tuple[bool, bool], tuple[LoadedModel, Any]] = {}
        self._models: dict[bool, LoadedModel] = {False: loaded}
        self._protos: dict[bool, Any] = {}

    def settle(self, artifact_id: str) -> str:
        """Return the nearest artifact that the model can have: this one, but for recurrent nets."""
        return "onnx-dynamic" if self.why_not(artifact_id) else artifact_id

    def why_not(self, artifact_id: str) -> str:
        """Return why ``settle`` takes another artifact; empty where it does not."""
        if artifact_id != "onnx-int8" or not self._recurrent:
            return ""
        return (
            f"ONNX has no static int8 form of {self._recurrent[0]}; its weights are int8, its "
            "activations are quantised as they come"
        )

    def make(self, artifact_id: str, settings: Settings = DEFAULT) -> tuple[bytes, bool]:
        """Return the file, and whether it keeps state between invocations.

        Args:
            artifact_id: What to make.
            settings: Calibration, and layers in float.

        Raises:
            TargetError: The format cannot hold the model as this variant or with these settings.
        """
        variant = variant_of(artifact_id)
        check_settings(settings, artifact_id.partition("-")[0], variant)
        samples = {name: array[: settings.samples] for name, array in self._samples.items()}
        if artifact_id.startswith("tflite"):
            return self._tflite(variant, samples, settings)
        reason = self.why_not(artifact_id)
        if reason:
            raise TargetError(f"{artifact_id} cannot be made.", received=reason, fix="--dynamic")
        equal = settings.equalise
        if equal not in self._protos:
            self._protos[equal] = float_graph(self._model(equal))
        return to_onnx(self._protos[equal], variant, samples, settings), False

    def _model(self, equal: bool) -> LoadedModel:
        if equal not in self._models:
            # From all samples, however many the ranges come from: it only knows the extremes.
            self._models[equal] = equalised(self._loaded, self._samples)
        return self._models[equal]

    def _tflite(
        self, variant: Variant, samples: Mapping[str, Array], settings: Settings
    ) -> tuple[bytes, bool]:
        integers = [spec.name for spec in self._loaded.signature(1) if spec.dtype.is_integer]
        if variant is INT16X8 and integers:
            # "Empty min/max for tensor": it wants a range of what has none.
            raise TargetError(
                f"TFLite cannot hold this model as {variant.id}.",
                received=f"integer input {integers[0]!r}",
                expected="float inputs: the converter of TensorFlow 2.21 has no 16x8 form of ids",
                fix="int8 or dynamic",
            )
        if self._loaded.loops and variant.calibrated:
            raise TargetError(
                f"TFLite cannot hold this model as {variant.id}.",
                received="a SavedModel with a loop",
                expected="the Keras file, whose recurrent layers can be unrolled",
                fix="convert model.keras instead of the SavedModel",
            )
        # The calibrator dies of the WHILE loop of a recurrent layer (segmentation fault).
        loop = bool(self._recurrent) and variant.calibrated
        # The fused op has no kernel with int16 activations.
        model = self._model(settings.equalise)
        if loop and variant is not INT16X8 and can_fuse(model):
            folder = Path(tempfile.mkdtemp(prefix=f"fused-{variant.id}-", dir=self._folder))
            data = to_tflite_fused(model, folder, variant, samples, self._switches, settings)
            return data, True
        key = (loop, settings.equalise)
        if key not in self._forms:
            form = unrolled(model) if loop else model
            self._forms[key] = (form, quantisable(freeze(form), slices=loop))
        form, frozen = self._forms[key]
        data = to_tflite(form, frozen, variant, samples, self._switches, settings)
        return data, False
