"""Golden vectors: raw inputs with the outputs measured at conversion (FORMAT.md, section 6)."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import TENSOR_DTYPES, Artifact
from edgeward.runtime.errors import InvalidDataError, InvalidManifestError
from edgeward.runtime.manifest import InputSpec, Manifest
from edgeward.runtime.preprocessing import check_raw
from edgeward.runtime.strict_json import Fields, dumps, loads

__all__ = ["MAX_GOLDEN_BYTES", "MIN_VECTORS", "Expected", "Golden"]

MAX_GOLDEN_BYTES = 16_000_000
MIN_VECTORS = 8

Raw = Array | bytes


@dataclass(frozen=True)
class Expected:
    """What one artifact gave on one runtime.

    Args:
        artifact: The artifact's id.
        runtime: Distribution name of the runtime, e.g. ``ai-edge-litert``.
        version: Its version.
        outputs: Output name -> ``[V, ...]``, as the artifact's file gives it.
    """

    artifact: str
    runtime: str
    version: str
    outputs: Mapping[str, Array]


@dataclass(frozen=True)
class Golden:
    """The golden vectors of a bundle.

    Args:
        inputs: V objects, input name -> raw sample.
        expected: One entry for each artifact and runtime it was measured in.
    """

    inputs: Sequence[Mapping[str, Raw]]
    expected: Sequence[Expected]

    def reference(self, artifact: Artifact, runtime: str, version: str) -> Expected | None:
        """Return what to compare with: the same runtime and version, else the nearest entry."""
        entries = [entry for entry in self.expected if entry.artifact == artifact.id]
        for match in (
            [e for e in entries if (e.runtime, e.version) == (runtime, version)],
            [e for e in entries if e.runtime == runtime],
            entries,
        ):
            if match:
                return match[0]
        return None

    def to_bytes(self) -> bytes:
        """Return the text of ``golden.json``."""
        return dumps(
            {
                "format_version": 1,
                "inputs": [
                    {name: _raw_to_json(raw) for name, raw in sample.items()}
                    for sample in self.inputs
                ],
                "expected": [
                    {
                        "artifact": entry.artifact,
                        "runtime": entry.runtime,
                        "version": entry.version,
                        "outputs": {n: _raw_to_json(v) for n, v in entry.outputs.items()},
                    }
                    for entry in self.expected
                ],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, manifest: Manifest) -> Golden:
        """Parse the text of ``golden.json`` and check it against the manifest.

        Raises:
            InvalidManifestError: Not strict JSON, not the schema, or tensors that do not fit.
        """
        where = "golden.json"
        read = Fields(
            loads(data, where, MAX_GOLDEN_BYTES), where, ["format_version", "inputs", "expected"]
        )
        if read.integer("format_version") != 1:
            raise read.error("format_version", read.raw("format_version"), 1)
        inputs: list[dict[str, Raw]] = []
        for i, item in enumerate(read.array("inputs")):
            at = f"{where}: inputs[{i}]"
            Fields(item, at, manifest.inputs)
            inputs.append(
                {
                    name: _raw_from_json(item[name], spec, f"{at}.{name}")
                    for name, spec in manifest.inputs.items()
                }
            )
        if 0 < len(inputs) < MIN_VECTORS:
            raise read.error("inputs", f"{len(inputs)} vectors", f"at least {MIN_VECTORS}")
        expected = [
            _expected_from_json(item, f"{where}: expected[{i}]", manifest, len(inputs))
            for i, item in enumerate(read.array("expected"))
        ]
        have = {entry.artifact for entry in expected}
        missing = [a.id for a in manifest.artifacts if inputs and a.id not in have]
        if missing:
            raise read.error("expected", sorted(have), f"an entry for {missing}")
        return cls(inputs, expected)


def _expected_from_json(value: Any, where: str, manifest: Manifest, vectors: int) -> Expected:
    read = Fields(value, where, ["artifact", "runtime", "version", "outputs"])
    known = {artifact.id: artifact for artifact in manifest.artifacts}
    artifact = known.get(read.text("artifact"))
    if artifact is None:
        raise read.error("artifact", read.raw("artifact"), sorted(known))
    Fields(read.raw("outputs"), f"{where}.outputs", manifest.outputs)
    outputs: dict[str, Array] = {}
    for tensor in artifact.outputs:
        at = f"{where}.outputs.{tensor.name}"
        array = _tensor_from_json(read.raw("outputs")[tensor.name], at)
        want = (vectors, *tensor.shape[1:])
        if array.dtype != tensor.dtype or array.shape != want:
            raise InvalidManifestError(
                f"{at} does not fit the artifact.",
                received=f"{array.dtype} {list(array.shape)}",
                expected=f"{tensor.dtype} {list(want)}",
            )
        outputs[tensor.name] = array
    return Expected(artifact.id, read.text("runtime"), read.text("version"), outputs)


def _raw_to_json(raw: Raw) -> Any:
    if isinstance(raw, bytes):
        return raw.decode()
    little = np.ascontiguousarray(raw, raw.dtype.newbyteorder("<"))
    return {
        "dtype": raw.dtype.name,
        "shape": list(raw.shape),
        "base64": base64.b64encode(little.tobytes()).decode(),
    }


def _raw_from_json(value: Any, spec: InputSpec, where: str) -> Raw:
    if spec.kind == "text":
        if not isinstance(value, str):
            raise InvalidManifestError(f"{where} must be a text.", received=type(value).__name__)
        return value.encode()
    array = _tensor_from_json(value, where)
    try:
        return check_raw(spec, array, where)
    except InvalidDataError as error:
        raise InvalidManifestError(
            error.message, received=error.received, expected=error.expected
        ) from None


def _tensor_from_json(value: Any, where: str) -> Array:
    read = Fields(value, where, ["dtype", "shape", "base64"])
    dtype = read.text("dtype")
    if dtype not in TENSOR_DTYPES:
        raise read.error("dtype", dtype, TENSOR_DTYPES)
    shape = [int(d) for d in read.shape("shape") if d is not None]
    if len(shape) != len(read.array("shape")):
        raise read.error("shape", read.raw("shape"), "no null")
    try:
        data = base64.b64decode(read.text("base64"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise read.error("base64", error, "base64 text") from None
    little = np.dtype(dtype).newbyteorder("<")
    if len(data) != math.prod(shape) * little.itemsize:
        raise read.error("base64", f"{len(data)} bytes", f"{dtype} {shape}")
    return np.frombuffer(data, little).reshape(shape).astype(dtype)
