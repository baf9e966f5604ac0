"""The ways to quantise, as named values, and which artifacts they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeward.convert.formats import FORMATS, Format
from edgeward.runtime.errors import TargetError, UsageError

__all__ = [
    "DYNAMIC",
    "FLOAT16",
    "FLOAT32",
    "INT8",
    "INT8_FLOATIO",
    "INT8_MIXED",
    "INT16X8",
    "OFFERED",
    "VARIANTS",
    "ArtifactId",
    "Variant",
    "artifact_ids",
    "plan",
    "rank",
    "with_float_edges",
]


@dataclass(frozen=True)
class Variant:
    """One way to quantise. What makes and checks files reads these attributes, never the id.

    Attributes:
        id: What comes after the format in artifact ids.
        weights: dtype of the weights.
        activations: dtype of the activations.
        edges: dtype of inputs and outputs in TFLite; integer ids stay int32 throughout.
        calibrated: Whether it needs calibration samples.
        trade_off: What is won and what it costs.
    """

    id: str
    weights: str
    activations: str
    edges: str
    calibrated: bool
    trade_off: str


FLOAT32 = Variant(
    id="fp32",
    weights="float32",
    activations="float32",
    edges="float32",
    calibrated=False,
    trade_off="the reference; four times the size of int8",
)


FLOAT16 = Variant(
    id="fp16",
    weights="float16",
    activations="float32",
    edges="float32",
    calibrated=False,
    trade_off="half the size; for GPU delegates; CPUs compute in float32",
)


DYNAMIC = Variant(
    id="dynamic",
    weights="int8",
    activations="float32",
    edges="float32",
    calibrated=False,
    trade_off="no calibration data; activations are quantised as they come",
)


INT8 = Variant(
    id="int8",
    weights="int8",
    activations="int8",
    edges="int8",
    calibrated=True,
    trade_off="smallest and fastest on CPUs, NPUs and microcontrollers",
)


INT8_FLOATIO = Variant(
    id="int8-floatio",
    weights="int8",
    activations="int8",
    edges="float32",
    calibrated=True,
    trade_off="int8 inside, float32 at its edges; for browsers",
)


INT8_MIXED = Variant(
    id="int8-mixed",
    weights="int8, or float32",
    activations="int8, or float32",
    edges="float32",
    calibrated=True,
    trade_off="int8 but for the layers that cost accuracy; float32 at its edges; what repair falls "
    "back to",
)


INT16X8 = Variant(
    id="int16x8",
    weights="int8",
    activations="int16",
    edges="int16",
    calibrated=True,
    trade_off="when int8 activations cost accuracy; slow on most CPUs",
)


# In the order in which they are made.
VARIANTS = {
    variant.id: variant
    for variant in (
        FLOAT32,
        FLOAT16,
        DYNAMIC,
        INT8,
        INT8_FLOATIO,
        INT16X8,
    )
}


# What people can ask for by name; the float-I/O twin comes with --all, or where a target wants it.
OFFERED = (FLOAT32.id, FLOAT16.id, DYNAMIC.id, INT8.id, INT16X8.id)


# Not among those that can be planned: which layers stay float is found by measuring.
_BY_ID = {**VARIANTS, INT8_MIXED.id: INT8_MIXED}


@dataclass(frozen=True)
class ArtifactId:
    """What an artifact is; its id, ``str()`` of it, is what files and reports hold.

    Attributes:
        format: Its format.
        variant: How it is quantised.

    >>> artifact = ArtifactId.parse("tflite-int8-floatio")
    >>> artifact.format.name, artifact.variant.id, artifact.file, str(artifact.twin)
    ('tflite', 'int8-floatio', 'tflite-int8-floatio.tflite', 'tflite-fp32')
    """

    format: Format
    variant: Variant

    def __post_init__(self) -> None:
        if not self.format.has(self.variant.id):
            raise UsageError(
                f"{self.format.name} has no {self.variant.id}.",
                received=str(self),
                expected=", ".join(v for v in _BY_ID if self.format.has(v)),
            )

    def __str__(self) -> str:
        return _id(self.format.name, self.variant.id)

    @classmethod
    def parse(cls, text: str) -> ArtifactId:
        """Read an id.

        Raises:
            UsageError: There is no such format or variant, or the format does not have it.
        """
        format_, _, variant = text.partition("-")
        if format_ not in FORMATS or variant not in _BY_ID:
            raise UsageError(
                "There is no such artifact.",
                received=text,
                expected=", ".join(map(str, artifact_ids())),
            )
        return cls(FORMATS[format_], _BY_ID[variant])

    @property
    def file(self) -> str:
        """The file name, in the work folder and in the bundle."""
        return f"{self}.{self.format.suffix}"

    @property
    def twin(self) -> ArtifactId:
        """The float32 artifact that this one is compared with."""
        return ArtifactId(self.format, FLOAT32)


def _id(format_: str, variant: str) -> str:
    return f"{format_}-{variant}"


def artifact_ids() -> list[ArtifactId]:
    """Return every artifact that there can be: the formats in their order, each with its variants.

    The mixed variant is among them, which repair alone makes.
    """
    return [
        ArtifactId(format_, variant)
        for format_ in FORMATS.values()
        for variant in _BY_ID.values()
        if format_.has(variant.id)
    ]


def rank(artifact_id: str) -> int:
    """Return the place of an artifact in the order in which all are made and measured.

    The float32 twin of a format comes first: the others are compared with it.

    Raises:
        UsageError: There is no such artifact.
    """
    return artifact_ids().index(ArtifactId.parse(artifact_id))


def with_float_edges(artifact_id: str) -> str:
    """Return the artifact that computes the same on float inputs and outputs; itself without one.

    Raises:
        UsageError: There is no such artifact.

    >>> with_float_edges("tflite-int8"), with_float_edges("onnx-int8")
    ('tflite-int8-floatio', 'onnx-int8')
    """
    artifact = ArtifactId.parse(artifact_id)
    wanted = replace(artifact.variant, id="", trade_off="", edges="float32")
    for variant in VARIANTS.values():
        same = replace(variant, id="", trade_off="") == wanted
        if same and artifact.format.has(variant.id):
            return str(ArtifactId(artifact.format, variant))
    return artifact_id


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
    known_variants = tuple(VARIANTS) if everything else OFFERED
    for what, given, known in (
        ("variant", asked, known_variants),
        ("format", formats, tuple(FORMATS)),
    ):
        unknown = [name for name in given if name not in known]
        if unknown or not given:
            raise UsageError(f"Unknown {what}.", received=unknown or "none", expected=list(known))
    # float32 comes along always: it is the twin that size and drift are compared with.
    wanted = [v for v in VARIANTS.values() if v.id in (FLOAT32.id, *asked)]
    ids: list[str] = []
    missing: dict[str, str] = {}
    for format_ in FORMATS.values():
        if format_.name not in formats:
            continue
        for variant in wanted:
            artifact_id = _id(format_.name, variant.id)
            if format_.has(variant.id):
                ids.append(artifact_id)
            else:
                missing[artifact_id] = (
                    f"{format_.name} has no {variant.id}: {variant.activations} activations with "
                    f"{variant.weights} weights and {variant.edges} edges exist in "
                    f"{', '.join(_formats_of(variant))} only"
                )
    for variant in wanted:
        if not any(_id(format_, variant.id) in ids for format_ in formats):
            if everything:
                continue
            raise TargetError(
                f"No format asked for has the variant {variant.id}.",
                received=", ".join(formats),
                expected=", ".join(_formats_of(variant)),
                fix=f"--format {_formats_of(variant)[0]}",
            )
    return ids, missing


def _formats_of(variant: Variant) -> list[str]:
    return [format_.name for format_ in FORMATS.values() if format_.has(variant.id)]
