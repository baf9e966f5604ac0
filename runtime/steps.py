"""The closed list of preprocessing and postprocessing steps (FORMAT.md, section 4).

Each is a frozen dataclass, validated when constructed; the arithmetic is in ``preprocessing.py``.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from edgeward.runtime.errors import InvalidManifestError
from edgeward.runtime.files import is_plain_name
from edgeward.runtime.strict_json import Fields

__all__ = [
    "POSTPROCESSING",
    "PREPROCESSING",
    "Affine",
    "Grayscale",
    "Invert",
    "Lookup",
    "Pad",
    "ResizeBilinear",
    "Sigmoid",
    "Softmax",
    "Step",
    "Tokenize",
    "check_chain",
    "step_from_json",
]

MAX_SIDE = 65535


@dataclass(frozen=True)
class Step:
    """One step of preprocessing or postprocessing.

    Attributes:
        name: The step's name in JSON.
        takes: Kinds of value that the step accepts: image, text, tokens, ids, array.
        gives: Kind of value that comes out.
    """

    name: ClassVar[str]
    takes: ClassVar[frozenset[str]]
    gives: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the step."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
        return {"step": self.name, **plain}

    def _check(self, condition: bool, received: object, expected: str) -> None:
        if not condition:
            raise InvalidManifestError(
                f"Step {self.name!r} is wrong.", received=repr(received)[:200], expected=expected
            )


@dataclass(frozen=True)
class Grayscale(Step):
    """R, G, B to luma (BT.601); gray stays as it is."""

    name = "grayscale"
    takes = frozenset({"image"})
    gives = "image"


@dataclass(frozen=True)
class Invert(Step):
    """255 - p."""

    name = "invert"
    takes = frozenset({"image"})
    gives = "image"


@dataclass(frozen=True)
class ResizeBilinear(Step):
    """Antialiased bilinear resize in integer arithmetic."""

    height: int
    width: int
    name = "resize_bilinear"
    takes = frozenset({"image"})
    gives = "image"

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            self._check(
                isinstance(side, int) and 1 <= side <= MAX_SIDE, side, f"a side of 1..{MAX_SIDE}"
            )


@dataclass(frozen=True)
class Affine(Step):
    """float32(float32(x * scale) + offset); numbers, or one per last dimension."""

    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...] = 0.0
    name = "affine"
    takes = frozenset({"image", "array", "ids"})
    gives = "array"

    def __post_init__(self) -> None:
        for value in (self.scale, self.offset):
            numbers = value if isinstance(value, tuple) else (value,)
            self._check(
                bool(numbers)
                and all(
                    isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 3.4e38
                    for n in numbers
                ),
                value,
                "finite float32 numbers",
            )


@dataclass(frozen=True)
class Tokenize(Step):
    """ASCII lower-case, ASCII punctuation removed, split at ASCII white space; on bytes."""

    name = "tokenize"
    takes = frozenset({"text"})
    gives = "tokens"


@dataclass(frozen=True)
class Lookup(Step):
    """Tokens to line numbers of the vocabulary file."""

    vocabulary: str = "vocabulary.txt"
    unknown: int = 1
    name = "lookup"
    takes = frozenset({"tokens"})
    gives = "ids"

    def __post_init__(self) -> None:
        self._check(is_plain_name(self.vocabulary), self.vocabulary, "a plain file name")
        self._check(
            isinstance(self.unknown, int) and 0 <= self.unknown < 2**31, self.unknown, "an id >= 0"
        )


@dataclass(frozen=True)
class Pad(Step):
    """Ids to a fixed length: cut the end, or fill up with ``value`` on ``side``."""

    length: int
    value: int = 0
    side: str = "right"
    name = "pad"
    takes = frozenset({"ids"})
    gives = "ids"

    def __post_init__(self) -> None:
        self._check(
            isinstance(self.length, int) and 1 <= self.length <= 2**20, self.length, "1..2^20"
        )
        self._check(
            isinstance(self.value, int) and -(2**31) <= self.value < 2**31, self.value, "an int32"
        )
        self._check(self.side in ("left", "right"), self.side, "'left' or 'right'")


@dataclass(frozen=True)
class Sigmoid(Step):
    """1 / (1 + exp(-x)) in float32."""

    name = "sigmoid"
    takes = frozenset({"array"})
    gives = "array"


@dataclass(frozen=True)
class Softmax(Step):
    """exp(x - max) / sum over the last dimension in float32."""

    name = "softmax"
    takes = frozenset({"array"})
    gives = "array"


PREPROCESSING: Mapping[str, type[Step]] = {
    cls.name: cls for cls in (Grayscale, Invert, ResizeBilinear, Affine, Tokenize, Lookup, Pad)
}
POSTPROCESSING: Mapping[str, type[Step]] = {cls.name: cls for cls in (Affine, Sigmoid, Softmax)}


def step_from_json(value: Any, where: str, known: Mapping[str, type[Step]]) -> Step:
    """Read one step; ``known`` is PREPROCESSING or POSTPROCESSING.

    Raises:
        InvalidManifestError: Unknown step, or wrong parameters.
    """
    if not isinstance(value, dict) or not isinstance(value.get("step"), str):
        raise InvalidManifestError(f"{where} is not a step.", expected="an object with 'step'")
    cls = known.get(value["step"])
    if cls is None:
        raise InvalidManifestError(
            f"{where} is a step this runtime does not know.",
            received=value["step"],
            expected=sorted(known),
            fix="update edgeward on this device, or convert the model with the older version",
        )
    read = Fields(value, where, ["step", *(f.name for f in fields(cls))])
    arguments: dict[str, Any] = {}
    for field in fields(cls):
        raw = read.raw(field.name)
        if isinstance(raw, bool) or not isinstance(raw, int | float | str | list):
            raise read.error(field.name, raw, "a number, a string or an array of numbers")
        if cls is Affine:
            raw = tuple(raw) if isinstance(raw, list) else raw
        arguments[field.name] = raw
    return cls(**arguments)


def check_chain(steps: tuple[Step, ...], kind: str, where: str) -> None:
    """Check that each step takes what the one before gives, and that numbers come out.

    Raises:
        InvalidManifestError: They do not fit together.
    """
    for step in steps:
        if kind not in step.takes:
            raise InvalidManifestError(
                f"{where}: the steps do not fit together.",
                received=f"{step.name!r} after a value of kind {kind!r}",
                expected=f"a value of kind {sorted(step.takes)}",
            )
        kind = step.gives
    if kind in ("text", "tokens"):
        raise InvalidManifestError(
            f"{where}: the steps end before there are numbers.",
            received=kind,
            expected="tokenize, lookup and pad for a text",
        )
