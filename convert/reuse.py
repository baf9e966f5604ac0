"""Not doing again what was done: the same request is answered, and the same artifact taken over.

Both are decided by hashes of everything that the result depends on (``convert.fingerprint``), and
both take only bytes that match theirs (``convert.shelf``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from convert.conversion import Conversion
from convert.decode import decode
from convert.job import artifact_file
from convert.report import ConversionReport
from convert.shelf import Shelf
from convert.variants import FORMATS, VARIANTS
from convert.write import REPORTS, refusal_of, remove_refusal

__all__ = ["TakenOver", "recall", "take_over"]


def recall(path: Path, key: str, shelves: Sequence[Shelf]) -> ConversionReport | None:
    """Answer a request that was answered before, as it was answered then.

    Args:
        path: The bundle.
        key: Hash of what is asked for.
        shelves: What the last conversions left.

    Returns:
        The report; None where the request is new, or where what it led to is not there any more.

    Raises:
        RefusedError: It was refused.
    """
    answers = {shelf.folder: shelf for shelf in shelves if key and shelf.record.request == key}
    bundle, refusal = answers.get(path), answers.get(refusal_of(path))
    if bundle is not None and all(a["bundled"] or a["instead"] for a in bundle.report["artifacts"]):
        report = _report(bundle, path, "nothing has changed: reused release {release}")
        if report is not None:
            remove_refusal(refusal_of(path))
        return report
    if refusal is None:
        return None
    kept = refusal.report["release"]  # under keep_passing
    if kept is not None and (bundle is None or bundle.report["release"] != kept):
        return None
    report = _report(refusal, path, "nothing has changed since this was refused")
    if report is None:
        return None
    # Knows the statistics, which take a second to import.
    from convert.refusal import refused

    raise refused(report, refusal.folder / REPORTS[0])


def _report(shelf: Shelf, path: Path, note: str) -> ConversionReport | None:
    try:
        report: ConversionReport = decode(ConversionReport, dict(shelf.report))
    except (KeyError, TypeError, ValueError):
        return None  # of another version
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
        notes: What the user should know.
    """

    made: dict[str, bool] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add_to(self, conversion: Conversion) -> Conversion:
        """Return everything that is there now, in the order in which it is always measured."""
        made = {**self.made, **conversion.made}
        conversion.made = {name: made[name] for name in sorted(made, key=_rank)}
        conversion.notes = list(dict.fromkeys([*self.notes, *conversion.notes]))
        return conversion


def _rank(artifact_id: str) -> tuple[int, int]:
    # The float32 twin first: the others are compared with it.
    format_, _, variant = artifact_id.partition("-")
    names = list(VARIANTS)
    return FORMATS.index(format_), names.index(variant) if variant in names else len(names)


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
                (folder / artifact_file(name)).write_bytes(data)
                taken.made[name] = kept[name].stateful
                taken.asked.add(wanted)
                taken.notes += [kept[name].instead[wanted]] if name != wanted else []
    return taken
