"""The files that come with a user's own model: labels, preprocessing, samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeward.runtime.errors import (
    EdgewardError,
    InvalidDataError,
    InvalidInputError,
    InvalidModelError,
    UsageError,
)
from edgeward.runtime.files import read_regular, render_sums, sha256_bytes, sha256_file
from edgeward.runtime.specs import InputSpec, OutputSpec, vocabulary_names
from edgeward.runtime.strict_json import loads

__all__ = [
    "GivenSpecs",
    "Hashes",
    "bundle_name",
    "hash_model",
    "model_kind",
    "read_labels",
    "read_specs",
    "refuse_twins",
]

SUFFIXES = (".keras", ".h5", ".hdf5")

MAX_TEXT = 1_000_000

MAX_VOCABULARY = 2**28


def model_kind(path: Path) -> str:
    """Return what a path is: ``file``, ``saved_model``, or ``run`` for anything else.

    Raises:
        InvalidModelError: A file that is no model that Keras saved whole.
    """
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    if path.is_dir() or (not path.exists() and path.suffix not in SUFFIXES):
        return "run"
    if not path.exists():
        raise InvalidModelError("There is no such model.", received=path)
    if path.suffix not in SUFFIXES or path.name.endswith(".weights.h5"):
        raise InvalidModelError(
            f"{path.name} is no model that can be converted.",
            expected="a .keras or .h5 file of model.save(), a SavedModel folder, or a run folder",
            fix='save the whole model: model.save("model.keras")',
        )
    return "file"


def bundle_name(path: Path) -> str:
    """Return the name of the bundle that a model becomes.

    >>> bundle_name(Path("models/my digits.v2.keras"))
    'my_digits.v2'
    """
    path = path.resolve()
    stem = path.stem if path.suffix in SUFFIXES else path.name
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", stem, flags=re.ASCII).lstrip("._-")[:90]
    # NAME.refused is where the report of a refusal goes.
    plain = plain.removesuffix(".refused").rstrip(".")
    return plain or "model"


def hash_model(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder that of the list of its files' hashes."""
    if path.is_file():
        return sha256_file(path)
    hashes = {
        file.relative_to(path).as_posix(): sha256_file(file)
        for file in path.rglob("*")
        if file.is_file()
    }
    return sha256_bytes(render_sums(hashes))


class Hashes:
    """The SHA-256 of files and folders, each read once in a conversion.

    >>> hashes = Hashes()
    >>> hashes.of(Path(__file__)) == hash_model(Path(__file__))
    True
    """

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Return what ``hash_model`` says of a file or folder.

        Raises:
            OSError: It is missing, which would be hashed like an empty folder, or unreadable.
        """
        place = path.resolve(strict=True)
        if place not in self._known:
            self._known[place] = hash_model(place)
        return self._known[place]


def refuse_twins(files: Mapping[str, Path], hashes: Hashes) -> None:
    """Check that no two splits are one file, or copies of it.

    Args:
        files: Where each split comes from, for the message, e.g. ``--test`` -> its file.
        hashes: Of the files that were read already.

    Raises:
        UsageError: Two are; names both.
    """
    known: dict[str, str] = {}
    for where, file in files.items():
        other = known.setdefault(hashes.of(file), where)
        if other != where:
            raise UsageError(
                f"{file.name} and {files[other].name} are the same samples.",
                received=f"{other} {files[other]} and {where} {file}",
                expected="samples that the artifacts were not made with, and others to choose by",
                fix="split the data; calibrate on training samples",
            )


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names, one per line.

    Raises:
        InvalidDataError: The file cannot be read, or a line is empty or there twice.
    """
    try:
        text = read_regular(path, MAX_TEXT).decode()
    except (InvalidInputError, UnicodeError) as error:
        raise InvalidDataError(
            f"{path.name} cannot be used as labels.",
            # An error of the project would bring its own "received" and "expected".
            received=error.received if isinstance(error, InvalidInputError) else error,
            expected="UTF-8 text",
        ) from None
    lines = [line.strip() for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise InvalidDataError(f"{path.name} is empty.", expected="one class name per line")
    if "" in lines:
        raise InvalidDataError(
            f"{path.name}, line {lines.index('') + 1} is empty.",
            expected="one class name per line, in the order of the model's outputs",
        )
    twice = [label for label, count in Counter(lines).items() if count > 1]
    if twice:
        raise InvalidDataError(
            f"{path.name} names a class twice.", received=twice, expected="each class once"
        )
    return tuple(lines)


@dataclass(frozen=True)
class GivenSpecs:
    """What the user says about inputs and outputs.

    Attributes:
        inputs: Input name -> spec, or None where it is left to be inferred.
        outputs: Output name -> spec, or None.
        vocabularies: Content of the vocabulary files that the steps name.
    """

    inputs: Mapping[str, InputSpec] | None = None
    outputs: Mapping[str, OutputSpec] | None = None
    vocabularies: Mapping[str, bytes] = field(default_factory=dict)


def read_specs(path: Path) -> GivenSpecs:
    """Read ``{"inputs": {NAME: ...}, "outputs": {NAME: ...}}``, either of them or both.

    The objects are those of the manifest (FORMAT.md, 3.1 and 3.2); vocabulary files are looked for
    beside the file.

    Raises:
        InvalidDataError: The file or a vocabulary cannot be read, or is not the schema; names the
            place.
    """
    try:
        value = loads(read_regular(path, MAX_TEXT), path.name, MAX_TEXT)
        if (
            not isinstance(value, dict)
            or not value
            or not set(value) <= {"inputs", "outputs"}
            or not all(isinstance(part, dict) and part for part in value.values())
        ):
            raise InvalidDataError(
                f"{path.name} is no description of inputs and outputs.",
                received=sorted(value) if isinstance(value, dict) else type(value).__name__,
                expected='{"inputs": {NAME: {...}}, "outputs": {NAME: {...}}}, or one of the two',
            )
        inputs = {
            name: InputSpec.from_json(item, f"inputs.{name}")
            for name, item in value.get("inputs", {}).items()
        }
        outputs = {
            name: OutputSpec.from_json(item, f"outputs.{name}")
            for name, item in value.get("outputs", {}).items()
        }
        vocabularies = {
            name: read_regular(path.parent / name, MAX_VOCABULARY)
            for name in vocabulary_names(inputs.values())
        }
    except EdgewardError as error:
        said = error.message
        raise InvalidDataError(
            said if path.name in said else f"{path.name}: {said}",
            received=error.received,
            expected=error.expected,
            # What the manifest's own errors advise is for devices.
            fix="see runtime/FORMAT.md, sections 3.1, 3.2 and 4",
        ) from None
    return GivenSpecs(inputs or None, outputs or None, vocabularies)
