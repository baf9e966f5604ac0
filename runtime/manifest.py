"""Contract B: the manifest of a bundle as frozen dataclasses, valid once they exist.

FORMAT.md, section 3, is the specification. Standard library only, so that any tool can read a
bundle's manifest without numpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgeward.runtime.artifact import Artifact, Drift, Limit, Op, TensorSpec, is_sha256, require
from edgeward.runtime.errors import UsageError
from edgeward.runtime.files import is_plain_name
from edgeward.runtime.specs import InputSpec, OutputSpec, specs_from_json
from edgeward.runtime.steps import (
    Affine,
    Grayscale,
    Invert,
    Lookup,
    Pad,
    ResizeBilinear,
    Sigmoid,
    Softmax,
    Step,
    Tokenize,
)
from edgeward.runtime.strict_json import Fields, dumps, loads

__all__ = [
    "FORMAT_VERSIONS",
    "MAX_MANIFEST_BYTES",
    "Affine",
    "Artifact",
    "Drift",
    "Grayscale",
    "InputSpec",
    "Invert",
    "Limit",
    "Lookup",
    "Manifest",
    "Op",
    "OutputSpec",
    "Pad",
    "ResizeBilinear",
    "Sigmoid",
    "Softmax",
    "Source",
    "Step",
    "TensorSpec",
    "Tokenize",
    "lowest_version",
]

FORMAT_VERSIONS = (1, 2)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)
MAX_MANIFEST_BYTES = 1_000_000


@dataclass(frozen=True)
class Source:
    """Where a bundle comes from: the run's id, the hashes of its model and of the test data."""

    run: str
    model_sha256: str
    data_sha256: str

    def __post_init__(self) -> None:
        for value in (self.model_sha256, self.data_sha256):
            require(is_sha256(value), "hash in source", value, "64 hex digits")


@dataclass(frozen=True)
class Manifest:
    """The whole manifest; FORMAT.md, section 3."""

    name: str
    release: int
    created_with: Mapping[str, str]
    source: Source
    default: str
    inputs: Mapping[str, InputSpec]
    outputs: Mapping[str, OutputSpec]
    artifacts: tuple[Artifact, ...]
    format_version: int = FORMAT_VERSIONS[0]

    def __post_init__(self) -> None:
        _check_version(self.format_version)
        lowest = lowest_version(self.artifacts)
        require(
            self.format_version >= lowest, "format_version", self.format_version,
            f"at least {lowest}, for the tolerance of an artifact",
        )  # fmt: skip
        require(is_plain_name(self.name), "name of the bundle", self.name, "a plain name")
        require(self.release >= 1, "release", self.release, ">= 1")
        ids = [artifact.id for artifact in self.artifacts]
        files = [artifact.file for artifact in self.artifacts]
        require(
            len(set(ids)) == len(ids) >= 1 and len(set(files)) == len(files),
            "list of artifacts", ids, "at least one, none twice",
        )  # fmt: skip
        require(self.default in ids, "default artifact", self.default, ids)
        for name in (*self.inputs, *self.outputs):
            require(_NAME.fullmatch(name) is not None, "name of an input or output", name,
                    "letters, digits, '_' and '-', at most 64")  # fmt: skip
        for artifact in self.artifacts:
            for what, tensors, specs in (
                ("inputs", artifact.inputs, self.inputs),
                ("outputs", artifact.outputs, self.outputs),
            ):
                names = [tensor.name for tensor in tensors]
                require(
                    sorted(names) == sorted(specs), f"{what} of {artifact.id}", names, sorted(specs)
                )
            measured = [drift.output for drift in artifact.drift]
            require(
                sorted(measured) == sorted(self.outputs),
                f"drift of {artifact.id}", measured, f"one entry for each of {sorted(specs)}",
            )  # fmt: skip
            for drift in artifact.drift:
                task = self.outputs[drift.output].task
                require(drift.task == task, f"task in the drift of {artifact.id}", drift.task, task)

    def artifact(self, artifact_id: str | None = None) -> Artifact:
        """Return an artifact by id; the default one for None.

        Raises:
            UsageError: The bundle holds no such artifact.
        """
        wanted = self.default if artifact_id is None else artifact_id
        for artifact in self.artifacts:
            if artifact.id == wanted:
                return artifact
        raise UsageError(
            "The bundle holds no such artifact.",
            received=wanted,
            expected=[artifact.id for artifact in self.artifacts],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "format_version": self.format_version,
            "name": self.name,
            "release": self.release,
            "created_with": dict(self.created_with),
            "source": asdict(self.source),
            "default": self.default,
            "inputs": {name: spec.to_json() for name, spec in self.inputs.items()},
            "outputs": {name: spec.to_json() for name, spec in self.outputs.items()},
            "artifacts": [artifact.to_json(self.format_version) for artifact in self.artifacts],
        }

    def to_bytes(self) -> bytes:
        """Return the text of ``manifest.json``."""
        return dumps(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Parse and validate the text of ``manifest.json``.

        Raises:
            InvalidManifestError: Not strict JSON or not the schema; says where.
        """
        where = "manifest.json"
        value = loads(data, where, MAX_MANIFEST_BYTES)
        read = Fields(
            value,
            where,
            [
                "format_version", "name", "release", "created_with", "source", "default",
                "inputs", "outputs", "artifacts",
            ],
        )  # fmt: skip
        version = read.integer("format_version")
        _check_version(version)
        source = Fields(read.raw("source"), "source", ["run", "model_sha256", "data_sha256"])
        return cls(
            name=read.text("name"),
            release=read.integer("release"),
            created_with=read.string_map("created_with"),
            source=Source(
                source.text("run"), source.text("model_sha256"), source.text("data_sha256")
            ),
            default=read.text("default"),
            inputs=specs_from_json(InputSpec, read.mapping("inputs"), "inputs"),
            outputs=specs_from_json(OutputSpec, read.mapping("outputs"), "outputs"),
            artifacts=tuple(
                Artifact.from_json(item, f"artifacts[{i}]", version)
                for i, item in enumerate(read.array("artifacts"))
            ),
            format_version=version,
        )


def lowest_version(artifacts: Iterable[Artifact]) -> int:
    """Return the lowest format version that can say what these artifacts say."""
    return FORMAT_VERSIONS[1] if any(one.tolerance for one in artifacts) else FORMAT_VERSIONS[0]


def _check_version(version: int) -> None:
    require(
        version in FORMAT_VERSIONS, "format_version", version,
        f"one of {FORMAT_VERSIONS}: update edgeward on this device, or convert the model again",
    )  # fmt: skip
