"""One artifact after the other from one loaded model. Runs in the worker process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert import to_onnx, to_tflite, trace
from convert.fused_lstm import can_fuse
from convert.job import Switches
from convert.rewrite import quantisable
from convert.variants import INT16X8, Variant, variant_of
from runtime.arrays import Array
from runtime.errors import TargetError

__all__ = ["Maker"]


class Maker:
    """Makes artifacts; what several of them start from is made once.

    Args:
        loaded: The model.
        samples: Input name -> preprocessed calibration samples ``[N, ...]``.
        switches: What the target needs of the converter.
        folder: For files in between.
    """

    def __init__(
        self,
        loaded: trace.LoadedModel,
        samples: Mapping[str, Array],
        switches: Switches,
        folder: Path,
    ) -> None:
        self._loaded = loaded
        self._samples = samples
        self._switches = switches
        self._folder = folder
        self._recurrent = trace.recurrent_layers(loaded)
        self._forms: dict[bool, tuple[trace.LoadedModel, Any]] = {}
        self._proto: Any = None

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

    def make(self, artifact_id: str) -> tuple[bytes, bool]:
        """Return the file, and whether it keeps state between invocations.

        Raises:
            TargetError: The format cannot hold the model as this variant.
        """
        variant = variant_of(artifact_id)
        if artifact_id.startswith("tflite"):
            return self._tflite(variant)
        reason = self.why_not(artifact_id)
        if reason:
            raise TargetError(f"{artifact_id} cannot be made.", received=reason, fix="--dynamic")
        if self._proto is None:
            self._proto = to_onnx.float_graph(self._loaded)
        return to_onnx.to_onnx(self._proto, variant, self._samples), False

    def _tflite(self, variant: Variant) -> tuple[bytes, bool]:
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
        if loop and variant is not INT16X8 and can_fuse(self._loaded):
            folder = self._folder / f"fused-{variant.id}"
            data = to_tflite.to_tflite_fused(
                self._loaded, folder, variant, self._samples, self._switches
            )
            return data, True
        if loop not in self._forms:
            form = trace.unrolled(self._loaded) if loop else self._loaded
            self._forms[loop] = (form, quantisable(trace.freeze(form), slices=loop))
        form, frozen = self._forms[loop]
        return to_tflite.to_tflite(form, frozen, variant, self._samples, self._switches), False
