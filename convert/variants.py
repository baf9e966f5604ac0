"""The ways to quantise, as named values, and which artifacts they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeward.runtime.artifact import ARTIFACT_VARIANTS
from edgeward.runtime.errors import TargetError, UsageError

__all__ = [
    "DYNAMIC",
    "FLOAT16",
    "FLOAT32",
    "FORMATS",
    "INT8",
    "INT8_FLOATIO",
    "INT8_MIXED",
    "INT16X8",
    "OFFERED",
    "VARIANTS",
    "Variant",
    "artifact_file",
    "plan",
    "twin_of",
    "variant_of",
]


@dataclass(frozen=True)
class Variant:
    """One way to quantise.

    Attributes:
        id: What comes after the format in artifact ids.
        weights: dtype of the weights.
        activations: dtype of the activations.
        edges: dtype of inputs and outputs in TFLite; integer ids stay int32 throughout.
        calibrated: Whether it needs calibration samples.
        formats: Formats that have it.
        trade_off: What is won and what it costs.
    """

    id: str
    weights: str
    activations: str
    edges: str
    calibrated: bool
    formats: tuple[str, ...]
    trade_off: str


FORMATS = ("tflite", "onnx")


FLOAT32 = Variant(
    *("fp32", "float32", "float32", "float32", False, FORMATS),
    "the reference; four times the size of int8",
)


FLOAT16 = Variant(
    *("fp16", "float16", "float32", "float32", False, FORMATS),
    "half the size; for GPU delegates; CPUs compute in float32",
)


DYNAMIC = Variant(
    *("dynamic", "int8", "float32", "float32", False, FORMATS),
    "no calibration data; activations are quantised as they come",
)


INT8 = Variant(
    *("int8", "int8", "int8", "int8", True, FORMATS),
    "smallest and fastest on CPUs, NPUs and microcontrollers",
)


INT8_FLOATIO = Variant(
    *("int8-floatio", "int8", "int8", "float32", True, ("tflite",)),
    "int8 inside, float32 at its edges; for browsers",
)


INT8_MIXED = Variant(
    *("int8-mixed", "int8, or float32", "int8, or float32", "float32", True, ("tflite",)),
    "int8 but for the layers that cost accuracy; float32 at its edges; what repair falls back to",
)


INT16X8 = Variant(
    *("int16x8", "int8", "int16", "int16", True, ("tflite",)),
    "when int8 activations cost accuracy; slow on most CPUs",
)


VARIANTS = {
    variant.id: variant for variant in (FLOAT32, FLOAT16, DYNAMIC, INT8, INT8_FLOATIO, INT16X8)
}


# What people can ask for by name; the float-I/O twin comes with --all, or where a target wants it.
OFFERED = (FLOAT32.id, FLOAT16.id, DYNAMIC.id, INT8.id, INT16X8.id)


# Not among those that can be planned: which layers stay float is found by measuring.
_BY_ID = {**VARIANTS, INT8_MIXED.id: INT8_MIXED}


def variant_of(artifact_id: str) -> Variant:
    """Return the variant of an artifact id such as ``tflite-int8-floatio``."""
    return _BY_ID[artifact_id.partition("-")[2]]


def plan(
    variants: Sequence[str], formats: Sequence[str], *, everything: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Return what to make, and what no format has.

    Args:
        variants: Variant ids asked for.
        formats: ``tflite``, ``onnx``.
        everything: All variants, whatever ``variants`` says.

    Returns:
        Ids of the artifacts, the float32 twin of each format first; and what was asked for and is
        not there, id -> reason.

    Raises:
        UsageError: An unknown variant or format, or none.
        TargetError: None of the formats has a variant that was asked for.
    """
    asked = tuple(VARIANTS) if everything else tuple(variants)
    known_variants = VARIANTS if everything else OFFERED
    for what, given, known in (
        ("variant", asked, known_variants),
        ("format", formats, FORMATS),
    ):
        unknown = [name for name in given if name not in known]
        if unknown or not given:
            raise UsageError(f"Unknown {what}.", received=unknown or "none", expected=list(known))
    # float32 comes along always: it is the twin that size and drift are compared with.
    wanted = [v for v in VARIANTS.values() if v.id in (FLOAT32.id, *asked)]
    ids: list[str] = []
    missing: dict[str, str] = {}
    for format_ in FORMATS:
        if format_ not in formats:
            continue
        for variant in wanted:
            artifact_id = f"{format_}-{variant.id}"
            if format_ in variant.formats and artifact_id in ARTIFACT_VARIANTS:
                ids.append(artifact_id)
            else:
                missing[artifact_id] = (
                    f"{format_} has no {variant.id}: {variant.activations} activations with "
                    f"{variant.weights} weights and {variant.edges} edges exist in "
                    f"{', '.join(variant.formats)} only"
                )
    for variant in wanted:
        if not any(f"{format_}-{variant.id}" in ids for format_ in formats):
            if everything:
                continue
            raise TargetError(
                f"No format asked for has the variant {variant.id}.",
                received=", ".join(formats),
                expected=", ".join(variant.formats),
                fix=f"--format {variant.formats[0]}",
            )
    return ids, missing


def artifact_file(artifact_id: str) -> str:
    """Return the file name of an artifact, in the work folder and in the bundle."""
    return f"{artifact_id}.{artifact_id.partition('-')[0]}"


def twin_of(artifact_id: str) -> str:
    """Return the id of the float32 artifact that an artifact is compared with."""
    return f"{artifact_id.partition('-')[0]}-fp32"
