"""What the last conversion left, verified before it is used: its bundle, or its refusal.

``report.json`` of both holds the hashes of what was asked for and of what each artifact depends on
(``convert.fingerprint``); SHA256SUMS covers it like every other file. No cache lies beside that
could grow, or tell another story than the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from convert.job import artifact_file
from convert.write import refusal_of
from runtime.bundle import SUMS, Bundle
from runtime.errors import InvalidBundleError, InvalidInputError
from runtime.files import parse_sums, read_regular, sha256_bytes
from runtime.strict_json import dumps, loads

__all__ = ["Kept", "Record", "Shelf", "open_shelves", "with_record"]

_KEY = "reuse"
_MAX_REPORT = 2**26
_MAX_SUMS = 1_000_000
_MAX_FILE = 2 * 2**30


@dataclass(frozen=True)
class Kept:
    """What is remembered of an artifact.

    Attributes:
        key: Hash of what it depends on.
        sha256: Hash of the file.
        stateful: Whether it keeps state between invocations.
        instead: Artifact that was asked for -> the note on why this one was made.
    """

    key: str
    sha256: str
    stateful: bool
    instead: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What is remembered of a conversion.

    Attributes:
        request: Hash of all that was asked for; empty where asking again may give more.
        artifacts: Artifact id -> what is remembered of it.
    """

    request: str
    artifacts: Mapping[str, Kept]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Record:
        """Read what ``with_record`` wrote."""
        kept = {name: Kept(**item) for name, item in value["artifacts"].items()}
        return cls(str(value["request"]), kept)


def with_record(report: bytes, record: Record) -> bytes:
    """Return the text of ``report.json`` with the record in it."""
    return dumps({**loads(report, "report.json", _MAX_REPORT), _KEY: asdict(record)})


@dataclass(frozen=True)
class Shelf:
    """An earlier conversion.

    Attributes:
        folder: Where it is.
        files: File name -> bytes, as they were checked.
        report: The JSON object of ``report.json``, without the record.
        record: What is remembered of it.
    """

    folder: Path
    files: Mapping[str, bytes]
    report: Mapping[str, Any]
    record: Record

    @classmethod
    def open(cls, folder: Path, *, bundle: bool) -> Shelf | None:
        """Read and verify an earlier conversion; None where there is none that remembers.

        Args:
            folder: A bundle, or the folder of a refusal.
            bundle: Whether it has to be a bundle.

        Raises:
            InvalidInputError: It is damaged, or was edited.
        """
        if folder.is_symlink() or not folder.is_dir() or not any(folder.iterdir()):
            return None
        if bundle:
            Bundle.open(folder).verify()
        elif not (folder / SUMS).is_file():
            return None
        hashes = parse_sums(read_regular(folder / SUMS, _MAX_SUMS))
        files = {name: read_regular(folder / name, _MAX_FILE) for name in hashes}
        for name, data in files.items():
            if sha256_bytes(data) != hashes[name]:
                raise InvalidBundleError(f"{name} is damaged: it is not the file that was written.")
        if "report.json" not in files:
            return None
        report = loads(files["report.json"], "report.json", _MAX_REPORT)
        try:
            record = Record.from_json(report.pop(_KEY))
        except (AttributeError, KeyError, TypeError):
            return None  # of another version
        return cls(folder, files, report, record)

    def artifact(self, artifact_id: str, key: str) -> bytes | None:
        """Return the file of an artifact that depends on the same as what is asked for."""
        kept = self.record.artifacts.get(artifact_id)
        data = self.files.get(artifact_file(artifact_id))
        if kept is None or data is None or kept.key != key:
            return None
        return data if sha256_bytes(data) == kept.sha256 else None


def open_shelves(path: Path) -> tuple[list[Shelf], list[str]]:
    """Open what the last conversions to a bundle left.

    Args:
        path: The bundle.

    Returns:
        The bundle and the refusal beside it, where they are sound; and a note on what is not.
    """
    shelves: list[Shelf] = []
    notes: list[str] = []
    for folder, bundle in ((path, True), (refusal_of(path), False)):
        try:
            shelf = Shelf.open(folder, bundle=bundle)
        except (InvalidInputError, OSError) as error:
            said = error.message if isinstance(error, InvalidInputError) else error
            notes.append(f"nothing of {folder.name} is reused: {said}")
            continue
        if shelf is not None:
            shelves.append(shelf)
    return shelves, notes
