"""Repair of artifacts that missed their budget: try, measure on other samples, take, judge.

What stays int8 comes first, in order of cost; fine-tuning and what leaves int8 need leave. The
choice is made on samples that do not judge it (``convert.holdout``): the best of several tries
looks better than it is on the samples that it was chosen by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convert.attempt import Attempt, Plan
from convert.choice import Tried, choose, nearest, repairable
from convert.ladder import calibration_rung, fallback_rung, loss_rank, stands_for, tuning_rung
from convert.measure import Measured
from convert.repair_step import RepairStep
from convert.settings import DEFAULT
from convert.trials import Trials, Workshop

__all__ = ["Allowed", "Repaired", "repair"]


@dataclass(frozen=True)
class Allowed:
    """What repair may do beyond another calibration.

    Attributes:
        qat: Fine-tune the weights.
        fallback: Leave int8.
        distil: File of raw samples to fine-tune on; None takes the calibration samples.
    """

    qat: bool = False
    fallback: bool = False
    distil: Path | None = None


@dataclass
class Repaired:
    """What became of the artifacts that missed their budget.

    Attributes:
        replaced: Artifact id -> the repaired artifact of the same id.
        instead: Artifact id -> id of the artifact that stands for it, which left int8.
        added: Those artifacts, where they were not there before.
        settings: Artifact id -> how it was made, where that is not the ordinary way.
        steps: The path, in order.
        notes: What the user should know.
    """

    replaced: dict[str, Measured] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)
    added: list[Measured] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    steps: list[RepairStep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        """Why attempts failed."""
        return [step.reason for step in self.steps if step.reason]

    def apply(self, measured: Sequence[Measured]) -> list[Measured]:
        """Return the artifacts with the repaired ones in the place of what they repair."""
        return [*(self.replaced.get(m.artifact.id, m) for m in measured), *self.added]


def repair(
    candidates: Sequence[Measured], measured: Sequence[Measured], shop: Workshop, allowed: Allowed
) -> Repaired:
    """Repair what missed its budget.

    Args:
        candidates: The artifacts that may not be bundled as they are.
        measured: All artifacts of the conversion.
        shop: Where attempts are made and measured.
        allowed: What may be tried.

    Returns:
        What was tried, and what it gave. An artifact that nothing helped is not in it.
    """
    trials = Trials(measured, shop)
    result = Repaired(steps=trials.steps, notes=trials.notes)
    result.notes.append(f"repair chose by {shop.holdout.note}")
    failing = [m for m in candidates if repairable(m, fallback=allowed.fallback)]
    tried: dict[str, list[Tried]] = {m.artifact.id: [] for m in failing}

    def lost() -> list[str]:
        return [name for name in tried if name not in result.replaced]

    plans = {name: calibration_rung(name, shop.used, shop.available) for name in lost()}
    _climb("another calibration", plans, None, trials, tried, result)
    if allowed.qat:
        plans = {name: tuning_rung(name, shop.used, nearest(tried[name])) for name in lost()}
        distil = None if allowed.distil is None else str(allowed.distil.resolve())
        _climb("fine-tuning", plans, distil, trials, tried, result)
    if allowed.fallback and lost():
        _fall_back([m for m in failing if m.artifact.id in lost()], measured, shop, trials, result)
    return result


def _climb(
    rung: str,
    plans: dict[str, list[Attempt]],
    distil: str | None,
    trials: Trials,
    tried: dict[str, list[Tried]],
    result: Repaired,
) -> None:
    """Make one rung of the ladder for all artifacts together, and take what passes."""
    attempts = [one for plan in plans.values() for one in plan]
    if not attempts:
        return
    made, folder = trials.make(rung, Plan(attempts, distil))
    for wanted, plan in plans.items():
        found: list[Tried] = []
        for attempt in plan:
            one = trials.try_out(wanted, attempt, made, folder)
            found += [one] if one else []
            if one and one.good:
                break
        tried[wanted] += found
        chosen = choose(found)
        final = None if chosen is None else trials.judge(wanted, chosen)
        if chosen is not None and final is not None:
            result.replaced[wanted] = final
            result.settings[wanted] = chosen.attempt.describe()


def _fall_back(
    lost: Sequence[Measured],
    measured: Sequence[Measured],
    shop: Workshop,
    trials: Trials,
    result: Repaired,
) -> None:
    """Find the smallest artifact of each format that keeps the budget without being int8."""
    there = result.apply(measured)
    have = [m.artifact.id for m in there]
    firsts: dict[str, Measured] = {}
    # What loses most has all the others to fall back to.
    for m in sorted(lost, key=lambda m: loss_rank(m.artifact.id)):
        firsts.setdefault(m.artifact.format, m)
    plans = {
        format_: fallback_rung(m.artifact.id, shop.used, trials.islands(m), have)
        for format_, m in firsts.items()
    }
    attempts = [one for plan in plans.values() for one in plan]
    made, folder = (
        trials.make("fallback", Plan(attempts)) if attempts else (None, shop.bench.folder)
    )
    for format_, plan in plans.items():
        first = firsts[format_].artifact.id
        wanted = [m.artifact.id for m in lost if m.artifact.format == format_]
        outcomes = [trials.try_out(first, attempt, made, folder) for attempt in plan if made]
        found = [one for one in outcomes if one]
        hopeful = choose(found)
        good = [one for one in found if one.good] or ([hopeful] if hopeful else [])
        # What was asked for too and passed has been judged already.
        standing = [m for m in there if stands_for(first, m.artifact.id) and _passed(m)]
        candidates: list[Tried | Measured] = [*good, *standing]
        for one in sorted(candidates, key=_size):
            open_ = [name for name in wanted if stands_for(name, _id(one))]
            open_ = [name for name in open_ if name not in result.instead]
            if not open_:
                continue
            final = trials.judge(open_[0], one) if isinstance(one, Tried) else one
            if final is None:
                continue
            result.instead |= dict.fromkeys(open_, final.artifact.id)
            if isinstance(one, Tried):
                result.added.append(final)
                if one.attempt.settings != DEFAULT:
                    result.settings[final.artifact.id] = one.attempt.describe()


def _passed(measured: Measured) -> bool:
    return measured.verdict in ("pass", "unverified")


def _id(one: Tried | Measured) -> str:
    return (one.measured if isinstance(one, Tried) else one).artifact.id


def _size(one: Tried | Measured) -> int:
    return (one.measured if isinstance(one, Tried) else one).artifact.size
