"""Why an artifact is not bundled, in words."""

from __future__ import annotations

from pathlib import Path

from convert.drift.metrics import OutputDrift
from convert.measure import Measured
from convert.report import ConversionReport
from convert.units import show
from runtime.errors import RefusedError

__all__ = ["accepted", "reason", "refused"]


def accepted(measured: Measured, allow_inconclusive: bool) -> bool:
    """Tell whether an artifact may be bundled."""
    return measured.verdict in ("pass", "unverified") or (
        measured.verdict == "inconclusive" and allow_inconclusive
    )


def reason(measured: Measured, doubts: list[str]) -> str:
    """Return why an artifact was refused or is inconclusive; empty for one that passed.

    Args:
        measured: The artifact.
        doubts: What looks wrong with the calibration samples; told with quantised artifacts.
    """
    parts = []
    for drift in measured.worst:
        seen = show(drift)
        if drift.verdict == "refused":
            parts.append(
                f"{drift.metric} of {drift.output} is {seen.value}, the float model's "
                f"{seen.reference}: a drop of {seen.drop}, upper bound {seen.within}, "
                f"budget {seen.budget}"
            )
        elif drift.verdict == "inconclusive":
            unseen = _unseen(drift)
            if unseen:
                parts.append(f"no test sample of {drift.output} is of class {unseen}")
            if drift.upper_bound <= drift.budget:
                continue
            needed = f"about {drift.needed:,} are needed" if drift.needed else "more are needed"
            parts.append(
                f"{drift.samples:,} samples are too few to tell: the drop in {drift.metric} of "
                f"{drift.output} is {seen.drop} but may be up to {seen.within}, budget "
                f"{seen.budget}; {needed}"
            )
    if parts and measured.artifact.variant != "fp32":
        parts += doubts
    if parts and measured.layers is not None and (lost := measured.layers.culprit):
        parts.append(lost.sentence)
    return "; ".join(parts)


def _unseen(drift: OutputDrift) -> str:
    if drift.decisions is None:
        return ""
    rows = drift.decisions.confusion
    return ", ".join(str(i) for i, row in enumerate(rows) if not sum(row))


def refused(
    report: ConversionReport, where: Path, *, allow_inconclusive: bool = False
) -> RefusedError:
    """Make the error of a conversion whose report holds artifacts that were not bundled.

    Args:
        report: The report.
        where: The file that holds it.
        allow_inconclusive: Whether inconclusive artifacts were accepted: where nothing is bundled
            because of another one, they are not to blame.
    """
    failed = [
        a
        for a in report.artifacts
        if not a.instead
        and (a.verdict == "refused" or (a.verdict == "inconclusive" and not allow_inconclusive))
    ]
    words = {a.verdict for a in failed}
    fix = (
        "look at the report; calibrate on real training samples; --qat fine-tunes, --fallback "
        "leaves int8; raise --max-drop if you can afford the loss"
        if "refused" in words
        else "give more test samples, or --allow-inconclusive to bundle it marked"
    )
    error = RefusedError(
        f"{', '.join(a.id for a in failed)}: {' and '.join(sorted(words))}.",
        received="\n    ".join(f"{a.id}: {a.reason}" for a in failed),
        expected="an upper bound of the drop within the budget",
        fix=f"{fix}. Report: {where}"
        + ("" if report.bundle else "; the previous bundle, if any, was not touched"),
    )
    error.report = report
    return error
