"""The ways to quantise, as named values, and which artifact each one becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.artifact import ARTIFACT_VARIANTS
from runtime.errors import UsageError

__all__ = ["DYNAMIC", "FLOAT32", "FORMATS", "INT8", "VARIANTS", "Variant", "plan"]


@dataclass(frozen=True)
class Variant:
    """One way to quantise.

    Attributes:
        id: Name in artifact ids and in ``--help``.
        weights: dtype of the weights.
        activations: dtype of the activations.
        calibrated: Whether it needs calibration samples.
        trade_off: What is won and what it costs.
    """

    id: str
    weights: str
    activations: str
    calibrated: bool
    trade_off: str


FLOAT32 = Variant("fp32", "float32", "float32", False, "the reference; four times the size of int8")
INT8 = Variant(
    "int8", "int8", "int8", True, "smallest and fastest on CPUs, NPUs and microcontrollers"
)

DYNAMIC = Variant(
    "dynamic", "int8", "float32", False, "no calibration data; what recurrent nets get in ONNX"
)

VARIANTS = {variant.id: variant for variant in (FLOAT32, INT8, DYNAMIC)}
# What people can ask for; DYNAMIC is made instead of what a recurrent net cannot have.
OFFERED = (FLOAT32.id, INT8.id)
FORMATS = ("tflite", "onnx")


def plan(variants: Sequence[str], formats: Sequence[str]) -> list[str]:
    """Return the ids of the artifacts to make, the float32 twin of each format first.

    Args:
        variants: Variant ids asked for.
        formats: ``tflite``, ``onnx``.

    Raises:
        UsageError: An unknown variant or format, or none.
    """
    for what, given, known in (("variant", variants, OFFERED), ("format", formats, FORMATS)):
        unknown = [name for name in given if name not in known]
        if unknown or not given:
            raise UsageError(f"Unknown {what}.", received=unknown or "none", expected=list(known))
    # float32 comes along always: it is the twin that size and drift are compared with.
    wanted = [name for name in OFFERED if name in (FLOAT32.id, *variants)]
    ids = [f"{format_}-{name}" for format_ in FORMATS if format_ in formats for name in wanted]
    return [artifact_id for artifact_id in ids if artifact_id in ARTIFACT_VARIANTS]
