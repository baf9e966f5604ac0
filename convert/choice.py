"""Which attempt of a repair is worth judging. Only the samples that choose are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convert.attempt import Attempt
from convert.drift.gate import PairedCounts, upper_bound
from convert.drift.metrics import OutputDrift
from convert.ladder import repairable_variant
from convert.measure import Measured
from convert.settings import DEFAULT, Settings

__all__ = ["Tried", "choose", "nearest", "repairable"]

# Of the budget: a drop within it may well be proven by the samples that judge, which are more.
_HOPE = 0.5


@dataclass(frozen=True)
class Tried:
    """An attempt, measured on the samples that choose."""

    attempt: Attempt
    measured: Measured

    @property
    def excess(self) -> float:
        """How far the worst output's bound is beyond its budget, in budgets; below 0 is within."""
        # Budgets differ from output to output: half a point of accuracy, 30 dB.
        return max((d.upper_bound - d.budget) / d.budget for d in self.measured.worst)

    @property
    def good(self) -> bool:
        """Whether it keeps every budget there."""
        return all(drift.verdict == "pass" for drift in self.measured.worst)

    @property
    def hopeful(self) -> bool:
        """Whether only more samples are missing: each drop is well within its budget."""
        return all(
            drift.verdict == "pass"
            or (drift.verdict == "inconclusive" and drift.drop <= _HOPE * drift.budget)
            for drift in self.measured.worst
        )


def choose(tried: Sequence[Tried]) -> Tried | None:
    """Return the attempt to judge: the first good one, or else the nearest that is hopeful.

    One for each rung of the ladder: among many that are judged one would pass by luck.
    """
    good = next((one for one in tried if one.good), None)
    hopeful = [one for one in tried if one.hopeful]
    return good or min(hopeful, key=lambda one: one.excess, default=None)


def nearest(tried: Sequence[Tried]) -> Settings:
    """Return the settings that came nearest to the budget; the default where none was tried."""
    return min(tried, key=lambda one: one.excess).attempt.settings if tried else DEFAULT


def repairable(measured: Measured, *, fallback: bool = False) -> bool:
    """Tell whether an artifact missed a budget that a better one could keep.

    With so few samples that even an artifact without a single difference would be inconclusive
    there is nothing to repair.
    """
    if not repairable_variant(measured.artifact.variant, fallback=fallback):
        return False
    over = [drift for drift in measured.worst if drift.upper_bound > drift.budget]
    return bool(over) and all(_provable(drift) for drift in over)


def _provable(drift: OutputDrift) -> bool:
    if drift.task not in ("classification", "binary"):
        return True
    return upper_bound(PairedCounts(drift.samples, 0, 0)) <= drift.budget
