"""The parts of a report, and what the next conversion has to know."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from convert.conversion import Conversion
from convert.measure import Measured
from convert.measuring import twin_of
from convert.refusal import reason
from convert.repair import Repaired
from convert.report import ArtifactReport
from convert.shelf import Kept, Record

__all__ = ["artifact_reports", "notes_on", "record_of"]

# The worker's words where an artifact was exchanged for the nearest one that the model can have.
_INSTEAD = re.compile(r"(\S+) instead of (\S+): ")
# What failed of time, memory or a crash may be made when it is asked for again.
_PASSING = ("crashed", "memory", "time left", "out of time")


def artifact_reports(
    measured: Sequence[Measured], bundled: Sequence[Measured], doubts: list[str], mended: Repaired
) -> list[ArtifactReport]:
    """Return what became of each artifact.

    Args:
        measured: All artifacts.
        bundled: Those that are in the bundle.
        doubts: What looks wrong with the calibration samples.
        mended: What became of those that missed their budget.
    """
    sizes = {m.artifact.id: m.artifact.size for m in measured}
    return [
        ArtifactReport.of(
            m,
            sizes.get(twin_of(m.artifact.id)),
            bundled=m in bundled,
            reason=reason(m, doubts),
            repaired=mended.settings.get(m.artifact.id, ""),
            instead=mended.instead.get(m.artifact.id, ""),
        )
        for m in measured
    ]


def notes_on(
    conversion: Conversion, measured: Sequence[Measured], doubts: Sequence[str]
) -> list[str]:
    """Return what the user should know about what was made and measured."""
    unusable = [
        f"{m.artifact.id} does not run on {name}: {why.splitlines()[0]}"
        for m in measured
        for name, why in m.unusable.items()
    ]
    return [*conversion.notes, *unusable, *(f"suspicious: {doubt}" for doubt in doubts)]


def record_of(
    request: str,
    conversion: Conversion,
    measured: Sequence[Measured],
    failures: Sequence[str],
    key_of: Callable[[str], str],
) -> Record:
    """Return what the next conversion has to know.

    Args:
        request: Hash of what was asked for.
        conversion: What was made, and what was not.
        measured: All artifacts.
        failures: Why attempts of repair failed.
        key_of: Artifact id -> hash of what it depends on.
    """
    instead: dict[str, dict[str, str]] = {}
    for note in conversion.notes:
        if match := _INSTEAD.match(note):
            instead.setdefault(match[1], {})[match[2]] = note
    reasons = [*conversion.missing.values(), *failures]
    passing = any(word in why for why in reasons for word in _PASSING)
    kept = {
        m.artifact.id: Kept(
            key=key_of(m.artifact.id),
            sha256=m.artifact.sha256,
            stateful=m.artifact.stateful,
            instead=instead.get(m.artifact.id, {}),
        )
        for m in measured
    }
    return Record("" if passing else request, kept)
