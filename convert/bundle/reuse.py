"""Not doing again what was done: the same request is answered, and the same artifact taken over.

Both are decided by hashes of everything that the result depends on (``fingerprint``), and both take
only bytes that match theirs. What the last conversion left, its bundle or its refusal, is verified
before it is used: ``report.json`` of both holds those hashes, and SHA256SUMS covers it like every
other file. No cache lies beside that could grow, or tell another story than the bundle.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from edgeward.convert.bundle.write import REPORTS, refusal_of, remove_refusal
from edgeward.convert.report.report import ConversionReport, refused
from edgeward.convert.variants import ArtifactId, rank
from edgeward.convert.worker.conversion import Conversion
from edgeward.runtime.bundle import SUMS, Bundle
from edgeward.runtime.errors import InvalidBundleError, InvalidInputError, MissingExtraError
from edgeward.runtime.files import parse_sums, read_regular, sha256_bytes
from edgeward.runtime.strict_json import dumps, loads

__all__ = [
    "Kept",
    "Record",
    "Shelf",
    "TakenOver",
    "open_shelves",
    "read_back",
    "recall",
    "take_over",
    "with_record",
]

_KEY = "reuse"

_MAX_REPORT = 2**26

_MAX_SUMS = 1_000_000

_MAX_FILE = 2 * 2**30

_Read = TypeVar("_Read", ConversionReport, "Record")


def recall(
    path: Path, key: str, shelves: Sequence[Shelf], *, allow_inconclusive: bool = False
) -> ConversionReport | None:
    """Answer a request that was answered before, as it was answered then.

    Args:
        path: The bundle.
        key: Hash of what is asked for.
        shelves: What the last conversions left.
        allow_inconclusive: Whether inconclusive artifacts are accepted, for the words of a refusal.

    Returns:
        The report; None where the request is new, or where what it led to is not there any more.

    Raises:
        RefusedError: It was refused.
    """
    answers = {shelf.folder: shelf for shelf in shelves if key and shelf.record.request == key}
    bundle, refusal = answers.get(path), answers.get(refusal_of(path))
    if bundle is not None and all(a["bundled"] or a["instead"] for a in bundle.report["artifacts"]):
        report = _answer(bundle, path, "nothing has changed: reused release {release}")
        if report is not None:
            remove_refusal(refusal_of(path))
        return report
    if refusal is None:
        return None
    kept = refusal.report["release"]  # under keep_passing
    if kept is not None and (bundle is None or bundle.report["release"] != kept):
        return None
    report = _answer(refusal, path, "nothing has changed since this was refused")
    if report is None:
        return None
    raise refused(report, refusal.folder / REPORTS[0], allow_inconclusive=allow_inconclusive)


def _answer(shelf: Shelf, path: Path, note: str) -> ConversionReport | None:
    report = read_back(ConversionReport, dict(shelf.report))
    if report is None:
        return None
    return replace(
        report,
        bundle=None if report.bundle is None else path,
        reused=[artifact.id for artifact in report.artifacts],
        notes=[*report.notes, note.format(release=report.release)],
    )


@dataclass
class TakenOver:
    """Artifacts of earlier conversions.

    Attributes:
        made: Artifact id -> whether it keeps state between invocations.
        asked: The artifacts asked for that need no converter; some are another one in ``made``.
        instead: Those: artifact in ``made`` -> artifact asked for -> the note on why.
    """

    made: dict[str, bool] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    instead: dict[str, dict[str, str]] = field(default_factory=dict)

    def add_to(self, conversion: Conversion) -> Conversion:
        """Return everything that is there now, in the order in which it is always measured."""
        made = {**self.made, **conversion.made}
        conversion.made = {name: made[name] for name in sorted(made, key=rank)}
        notes = [note for wanted in self.instead.values() for note in wanted.values()]
        conversion.notes = list(dict.fromkeys([*notes, *conversion.notes]))
        for name, wanted in self.instead.items():
            conversion.instead[name] = {**wanted, **conversion.instead.get(name, {})}
        return conversion


def take_over(
    shelves: Sequence[Shelf],
    ids: Sequence[str],
    key_of: Callable[[str], str],
    folder: Path,
    *,
    tolerant: bool,
) -> TakenOver:
    """Put the artifacts that an earlier conversion made from the same into the work folder.

    Args:
        shelves: What the last conversions left.
        ids: Ids of the artifacts asked for.
        key_of: Artifact id -> hash of what it depends on.
        folder: The work folder.
        tolerant: Whether an artifact that the model cannot have is left out, not exchanged.
    """
    taken = TakenOver()
    for wanted in ids:
        for shelf in shelves:
            kept = shelf.record.artifacts
            candidates = [wanted] * (wanted in kept)
            if not tolerant:
                candidates += [name for name in kept if wanted in kept[name].instead]
            for name in candidates:
                data = shelf.artifact(name, key_of(name))
                if data is None or wanted in taken.asked:
                    continue
                (folder / ArtifactId.parse(name).file).write_bytes(data)
                taken.made[name] = kept[name].stateful
                taken.asked.add(wanted)
                if name != wanted:
                    note = kept[name].instead[wanted]
                    taken.instead.setdefault(name, {})[wanted] = note
    return taken


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

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return asdict(self)


def with_record(report: bytes, record: Record) -> bytes:
    """Return the text of ``report.json`` with the record in it."""
    return dumps({**loads(report, "report.json", _MAX_REPORT), _KEY: record.to_json()})


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
        record = read_back(Record, report.pop(_KEY, None)) if isinstance(report, dict) else None
        return None if record is None else cls(folder, files, report, record)

    def artifact(self, artifact_id: str, key: str) -> bytes | None:
        """Return the file of an artifact that depends on the same as what is asked for."""
        kept = self.record.artifacts.get(artifact_id)
        data = self.files.get(ArtifactId.parse(artifact_id).file)
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


def read_back(kind: type[_Read], value: Any) -> _Read | None:
    """Return what was written as JSON; None where another version wrote it.

    Args:
        kind: ``ConversionReport`` or ``Record``.
        value: What ``json.loads`` gave; it comes from a file that was verified.

    Raises:
        MissingExtraError: cattrs is not installed.
    """
    converter, unfitting = _reader()
    try:
        read: _Read = converter.structure(value, kind)
        again = dumps(read.to_json())
    except (unfitting, ValueError):  # ValueError: JSON has no "nan"
        return None
    # What does not fit is converted, left out or filled in with a default: a "1" is read as 1.
    # Written again it is something else then.
    return read if loads(again, kind.__name__, _MAX_REPORT) == value else None


@functools.cache
def _reader() -> tuple[Any, type[Exception]]:
    """Return what reads dataclasses by their annotations, and the error of what does not fit."""
    # Here, because ``import edgeward.convert`` is to work without the packages of converting.
    try:
        import cattrs
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name}, which converting needs,", "convert") from None

    converter = cattrs.Converter()
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    return converter, cattrs.BaseValidationError
