"""Metrics in the units that people read: percent and points, ratios, decibels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convert.drift.metrics import OutputDrift

__all__ = ["Shown", "show", "show_time"]


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
