"""What people read of a verdict: why it was refused, and metrics in points, ratios, decibels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeward.convert.drift.metrics import OutputDrift

if TYPE_CHECKING:
    from edgeward.convert.measure.measure import Measured

__all__ = ["Shown", "accepted", "reason", "show", "show_time"]


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
    parts = [] if measured.parting is None else [measured.parting.sentence]
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


@dataclass(frozen=True)
class Shown:
    """The numbers of a drift as text, each with its unit.

    Attributes:
        reference: The float model's metric.
        value: The artifact's.
        drop: How much worse the artifact is.
        within: The upper bound of that.
        budget: What was allowed.
    """

    reference: str
    value: str
    drop: str
    within: str
    budget: str


def show(drift: OutputDrift) -> Shown:
    """Return the numbers of a drift as text."""
    if drift.metric == "accuracy":
        return Shown(
            f"{100 * drift.reference:.2f} %",
            f"{100 * drift.value:.2f} %",
            f"{100 * drift.drop:+.2f} pt",
            f"{100 * drift.upper_bound:.3f} pt",
            f"{100 * drift.budget:.2f} pt",
        )
    if drift.metric == "psnr":
        return Shown(
            "itself",
            f"{drift.value:.1f} dB",
            f"{drift.reference - drift.value:+.1f} dB",
            f"{drift.upper_bound:.1f} dB",
            f"{drift.budget:.1f} dB",
        )
    return Shown(
        f"{drift.reference:.4g}",
        f"{drift.value:.4g}",
        f"{100 * drift.drop:+.2f} %",
        f"{100 * drift.upper_bound:.2f} %",
        f"{100 * drift.budget:.2f} %",
    )


def show_time(microseconds: float) -> str:
    """Return a time with three digits and its unit.

    >>> show_time(12.63), show_time(4870.0)
    ('12.6 µs', '4.87 ms')
    """
    if microseconds < 1000:
        return f"{microseconds:.3g} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms"
    return f"{microseconds / 1_000_000:.3g} s"
