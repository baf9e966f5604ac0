"""One artifact of a bundle: its tensors, ops and measured drift (FORMAT.md, section 3.3)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeward.runtime.errors import InvalidManifestError
from edgeward.runtime.files import is_plain_name
from edgeward.runtime.strict_json import Fields

__all__ = [
    "ARTIFACT_VARIANTS",
    "TENSOR_DTYPES",
    "VERDICTS",
    "Artifact",
    "Drift",
    "Limit",
    "Op",
    "TensorSpec",
    "is_sha256",
    "require",
]

ARTIFACT_VARIANTS: Mapping[str, str] = {
    "tflite-fp32": "fp32",
    "tflite-fp16": "fp16",
    "tflite-dynamic": "dynamic",
    "tflite-int8": "int8",
    "tflite-int8-floatio": "int8",
    "tflite-int8-mixed": "int8-mixed",
    "tflite-int16x8": "int16x8",
    "onnx-fp32": "fp32",
    "onnx-fp16": "fp16",
    "onnx-int8": "int8",
    "onnx-dynamic": "dynamic",
    "c-int8": "int8",
}
TENSOR_DTYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64")
VERDICTS = ("pass", "inconclusive", "unverified")
# From this format version on an artifact has limits, at most so many for each output.
TOLERANCE_VERSION, MAX_LIMITS = 2, 8
RESERVED = ("SHA256SUMS", "manifest.json", "golden.json")
# The normal float32 numbers: below, a processor that flushes to zero would divide by it.
MIN_SCALE, MAX_SCALE = 2.0**-126, 3.4e38
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_sha256(value: str) -> bool:
    """Tell whether ``value`` is 64 lower-case hex digits."""
    return _SHA256.fullmatch(value) is not None


def require(condition: bool, what: str, received: object, expected: object) -> None:
    """Raise InvalidManifestError unless ``condition``; ``what`` names the place."""
    if not condition:
        raise InvalidManifestError(
            f"{what} is wrong.", received=repr(received)[:200], expected=expected
        )


@dataclass(frozen=True)
class TensorSpec:
    """One tensor at the edge of an artifact.

    Args:
        name: The input's or output's name in the manifest.
        tensor: The tensor's name in the file.
        shape: Dimensions with the batch first; None is a dynamic batch.
        dtype: numpy name of the dtype.
        scale: Real value of one step, or None where the tensor is not quantised.
        zero_point: Integer that stands for 0.0, or None.
    """

    name: str
    tensor: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    def __post_init__(self) -> None:
        require(self.dtype in TENSOR_DTYPES, "dtype of a tensor", self.dtype, TENSOR_DTYPES)
        require(
            len(self.shape) >= 1 and None not in self.shape[1:],
            "shape of a tensor", self.shape, "the batch dimension first, which alone may be null",
        )  # fmt: skip
        require(
            (self.scale is None) == (self.zero_point is None), "quantisation of a tensor",
            (self.scale, self.zero_point), "scale and zero_point, or two nulls",
        )  # fmt: skip
        if self.scale is not None and self.zero_point is not None:
            limits = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
            low, high = limits.get(self.dtype, (1, 0))
            normal = MIN_SCALE <= self.scale <= MAX_SCALE
            require(normal, "scale", self.scale, "a positive, normal float32")
            require(
                low <= self.zero_point <= high, "zero_point", self.zero_point, f"in {low}..{high}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Any, where: str) -> TensorSpec:
        """Read the JSON object."""
        read = Fields(value, where, ["name", "tensor", "shape", "dtype", "scale", "zero_point"])
        return cls(
            read.text("name"),
            read.text("tensor"),
            read.shape("shape"),
            read.text("dtype"),
            read.optional("scale", read.number),
            read.optional("zero_point", read.integer),
        )


@dataclass(frozen=True, order=True)
class Op:
    """An operation that the runtime must know, and in which version."""

    name: str
    version: int

    @classmethod
    def from_json(cls, value: Any, where: str) -> Op:
        """Read the JSON object."""
        read = Fields(value, where, ["name", "version"])
        return cls(read.text("name"), read.integer("version"))


@dataclass(frozen=True)
class Drift:
    """How far one output of an artifact is from the float model, as measured when converted.

    Args:
        output: Name of the output.
        task: Task of the output.
        metric: Name of the metric, e.g. ``accuracy``.
        reference: The float model's metric; None when unverified, like the next three.
        value: The artifact's metric.
        drop: How much worse the artifact is (in the metric's unit; positive is worse).
        upper_bound: One-sided 95 % upper bound of the drop.
        budget: Largest upper bound allowed.
        samples: Number of samples measured.
        verdict: ``pass``, ``inconclusive`` or ``unverified``.
        runtime: Where it was measured, e.g. ``ai-edge-litert 2.3.0``.
    """

    output: str
    task: str
    metric: str
    reference: float | None
    value: float | None
    drop: float | None
    upper_bound: float | None
    budget: float
    samples: int
    verdict: str
    runtime: str

    def __post_init__(self) -> None:
        require(self.verdict in VERDICTS, "verdict", self.verdict, VERDICTS)
        numbers = (self.reference, self.value, self.drop, self.upper_bound)
        measured = [number is not None for number in numbers]
        require(
            not any(measured) if self.verdict == "unverified" else all(measured),
            "drift",
            numbers,
            "four numbers, or four nulls when 'unverified'",
        )
        require(self.samples >= 0, "samples", self.samples, ">= 0")
        if self.verdict == "pass" and self.upper_bound is not None:
            require(
                self.upper_bound <= self.budget and self.samples > 0,
                "verdict",
                f"pass with upper_bound {self.upper_bound} on {self.samples} samples",
                f"upper_bound <= budget {self.budget}, measured on samples",
            )

    @classmethod
    def from_json(cls, value: Any, where: str) -> Drift:
        """Read the JSON object."""
        read = Fields(value, where, list(cls.__dataclass_fields__))
        return cls(
            read.text("output"),
            read.text("task"),
            read.text("metric"),
            read.optional("reference", read.number),
            read.optional("value", read.number),
            read.optional("drop", read.number),
            read.optional("upper_bound", read.number),
            read.number("budget"),
            read.integer("samples"),
            read.text("verdict"),
            read.text("runtime"),
        )


@dataclass(frozen=True)
class Limit:
    """How many values of one answer may differ by more than so much; FORMAT.md, section 8.1.

    Args:
        lsb: A difference in LSB.
        values: Number of values of an output that may differ by more, for each golden input.
    """

    lsb: int
    values: int

    @classmethod
    def from_json(cls, value: Any, where: str) -> Limit:
        """Read the JSON object."""
        read = Fields(value, where, ["lsb", "values"])
        return cls(read.integer("lsb"), read.integer("values"))


@dataclass(frozen=True)
class Artifact:
    """One model file of one format and variant; FORMAT.md, sections 3.3 and 8.1."""

    id: str
    file: str
    size: int
    sha256: str
    variant: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: tuple[Op, ...]
    min_runtime: Mapping[str, str]
    batch: str
    stateful: bool
    max_lsb: int
    drift: tuple[Drift, ...]
    tolerance: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.id in ARTIFACT_VARIANTS, "artifact id", self.id, sorted(ARTIFACT_VARIANTS))
        require(
            self.variant == ARTIFACT_VARIANTS[self.id],
            f"variant of {self.id}",
            self.variant,
            ARTIFACT_VARIANTS[self.id],
        )
        require(
            is_plain_name(self.file) and self.file not in RESERVED,
            f"file of {self.id}",
            self.file,
            "a plain file name of its own",
        )
        require(self.size > 0, f"size of {self.id}", self.size, "> 0")
        require(
            is_sha256(self.sha256), f"sha256 of {self.id}", self.sha256, "64 lower-case hex digits"
        )
        require(bool(self.inputs) and bool(self.outputs), f"tensors of {self.id}", "none", "some")
        require(
            self.batch in ("static", "resizable"),
            f"batch of {self.id}",
            self.batch,
            "'static' or 'resizable'",
        )
        require(0 <= self.max_lsb < 2**31, f"max_lsb of {self.id}", self.max_lsb, "in 0..2^31 - 1")
        sizes = {tensor.name: math.prod(map(_size, tensor.shape[1:])) for tensor in self.outputs}
        for name, limits in self.tolerance.items():
            require(name in sizes, f"tolerance of {self.id}", name, sorted(sizes))
            steps = [limit.lsb for limit in limits]
            counts = [limit.values for limit in limits]
            require(
                1 <= len(limits) <= MAX_LIMITS
                and steps == sorted(set(steps))
                and counts == sorted(set(counts), reverse=True)
                and 0 <= steps[0] <= steps[-1] < self.max_lsb
                and 1 <= counts[-1] <= counts[0] < sizes[name],
                f"tolerance of {name} in {self.id}",
                list(zip(steps, counts, strict=True)),
                f"1 to {MAX_LIMITS} limits: growing lsb below max_lsb, falling values below "
                f"{sizes[name]}",
            )

    @property
    def format(self) -> str:
        """The format: ``tflite``, ``onnx`` or ``c``."""
        return self.id.partition("-")[0]

    def to_json(self, version: int = 1) -> dict[str, Any]:
        """Return the JSON object of a bundle of this format version."""
        limits = {n: [asdict(one) for one in found] for n, found in self.tolerance.items()}
        return {
            **({} if version < TOLERANCE_VERSION else {"tolerance": limits}),
            "id": self.id,
            "file": self.file,
            "size": self.size,
            "sha256": self.sha256,
            "variant": self.variant,
            "tensors": {
                "inputs": [t.to_json() for t in self.inputs],
                "outputs": [t.to_json() for t in self.outputs],
            },
            "ops": [asdict(op) for op in self.ops],
            "min_runtime": dict(self.min_runtime),
            "batch": self.batch,
            "stateful": self.stateful,
            "max_lsb": self.max_lsb,
            "drift": [asdict(drift) for drift in self.drift],
        }

    @classmethod
    def from_json(cls, value: Any, where: str, version: int = 1) -> Artifact:
        """Read the JSON object of a bundle of this format version."""
        read = Fields(
            value,
            where,
            [
                *(() if version < TOLERANCE_VERSION else ("tolerance",)),
                "id", "file", "size", "sha256", "variant", "tensors", "ops", "min_runtime",
                "batch", "stateful", "max_lsb", "drift",
            ],
        )  # fmt: skip
        tensors = Fields(read.raw("tensors"), f"{where}.tensors", ["inputs", "outputs"])

        def edge(key: str) -> tuple[TensorSpec, ...]:
            return tuple(
                TensorSpec.from_json(item, f"{where}.tensors.{key}[{i}]")
                for i, item in enumerate(tensors.array(key))
            )

        return cls(
            id=read.text("id"),
            file=read.text("file"),
            size=read.integer("size"),
            sha256=read.text("sha256"),
            variant=read.text("variant"),
            inputs=edge("inputs"),
            outputs=edge("outputs"),
            ops=tuple(
                Op.from_json(item, f"{where}.ops[{i}]") for i, item in enumerate(read.array("ops"))
            ),
            min_runtime=read.string_map("min_runtime"),
            batch=read.text("batch"),
            stateful=read.boolean("stateful"),
            max_lsb=read.integer("max_lsb"),
            drift=tuple(
                Drift.from_json(item, f"{where}.drift[{i}]")
                for i, item in enumerate(read.array("drift"))
            ),
            tolerance={} if version < TOLERANCE_VERSION else _limits(read, where),
        )


def _limits(read: Fields, where: str) -> dict[str, tuple[Limit, ...]]:
    at = f"{where}.tolerance"
    named = read.mapping("tolerance")
    limits = Fields(named, at, named)
    return {
        name: tuple(
            Limit.from_json(item, f"{at}.{name}[{i}]") for i, item in enumerate(limits.array(name))
        )
        for name in named
    }


def _size(dimension: int | None) -> int:
    # Only the batch may be open, and it is not asked for.
    return 1 if dimension is None else dimension
