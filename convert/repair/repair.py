"""Repair: which attempts are made for what missed its budget, and what they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeward.convert.measure.bench import Bench
from edgeward.convert.measure.measure import Measured
from edgeward.convert.repair.holdout import hold_out
from edgeward.convert.repair.ladder import (
    calibration_rung,
    fallback_rung,
    loss_rank,
    stands_for,
    tuning_rung,
)
from edgeward.convert.repair.step import RepairStep
from edgeward.convert.repair.trials import Trials, Tried, Workshop, choose, nearest, repairable
from edgeward.convert.samples.calibration import choose_calibration
from edgeward.convert.samples.check import open_unlabelled
from edgeward.convert.settings import DEFAULT, Switches
from edgeward.convert.source.source import Source
from edgeward.convert.worker.conversion import Conversion, convert_all
from edgeward.convert.worker.job import CALIBRATION, Attempt, Plan
from edgeward.runtime.samples import save_samples

__all__ = ["Allowed", "Repaired", "mend", "repair"]

# Calibration samples, beyond which ranges hardly change and every attempt takes longer.
_MOST = 5_000


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
        transient: Names of the attempts that failed of a crash, of memory or of time.
    """

    replaced: dict[str, Measured] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)
    added: list[Measured] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    steps: list[RepairStep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    transient: set[str] = field(default_factory=set)

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
    result = Repaired(steps=trials.steps, notes=trials.notes, transient=trials.transient)
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
    attempts = [attempt for plan in plans.values() for attempt in plan]
    if not attempts:
        return
    made, folder = trials.make(rung, Plan(attempts, distil))
    for wanted, plan in plans.items():
        measured: list[Tried] = []
        for attempt in plan:
            trial = trials.try_out(wanted, attempt, made, folder)
            measured += [trial] if trial else []
            if trial and trial.good:
                break
        tried[wanted] += measured
        chosen = choose(measured)
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
    attempts = [attempt for plan in plans.values() for attempt in plan]
    made, folder = (
        trials.make("fallback", Plan(attempts)) if attempts else (None, shop.bench.folder)
    )
    for format_, plan in plans.items():
        first = firsts[format_].artifact.id
        wanted = [m.artifact.id for m in lost if m.artifact.format == format_]
        outcomes = [trials.try_out(first, attempt, made, folder) for attempt in plan if made]
        tried = [trial for trial in outcomes if trial]
        hopeful = choose(tried)
        good = [trial for trial in tried if trial.good] or ([hopeful] if hopeful else [])
        # What was asked for too and passed has been judged already.
        standing = [m for m in there if stands_for(first, m.artifact.id) and _passed(m)]
        candidates: list[Tried | Measured] = [*good, *standing]
        for candidate in sorted(candidates, key=_size):
            open_ = [name for name in wanted if stands_for(name, _id(candidate))]
            open_ = [name for name in open_ if name not in result.instead]
            if not open_:
                continue
            final = trials.judge(open_[0], candidate) if isinstance(candidate, Tried) else candidate
            if final is None:
                continue
            result.instead |= dict.fromkeys(open_, final.artifact.id)
            if isinstance(candidate, Tried):
                result.added.append(final)
                if candidate.attempt.settings != DEFAULT:
                    result.settings[final.artifact.id] = candidate.attempt.describe()


def _passed(measured: Measured) -> bool:
    return measured.verdict in ("pass", "unverified")


def _id(candidate: Tried | Measured) -> str:
    return (candidate.measured if isinstance(candidate, Tried) else candidate).artifact.id


def _size(candidate: Tried | Measured) -> int:
    return (candidate.measured if isinstance(candidate, Tried) else candidate).artifact.size


def mend(
    failing: Sequence[Measured],
    measured: Sequence[Measured],
    bench: Bench,
    source: Source,
    allowed: Allowed,
    *,
    used: int,
    switches: Switches,
    timeout: float,
    memory: int,
    progress: Callable[[str], None],
) -> Repaired:
    """Repair what missed its budget.

    Args:
        failing: The artifacts that may not be bundled as they are.
        measured: All artifacts.
        bench: What they were measured with.
        source: The model and its data.
        allowed: What may be tried.
        used: Calibration samples that they were made with.
        switches: What the target needs of the converter.
        timeout: Seconds that each rung of the repair may convert.
        memory: Bytes that the converter may take; 0 is no limit.
        progress: Called with one line per step.

    Returns:
        What was tried; nothing where there was nothing to repair.

    Raises:
        InvalidDataError: The samples to fine-tune on cannot be used.
    """
    if not any(repairable(m, fallback=allowed.fallback) for m in failing):
        return Repaired()
    holdout = hold_out(bench.source, bench.values, bench.folder)
    if holdout is None:
        return Repaired(
            notes=[
                "nothing was repaired: there are too few test samples to choose by some and "
                "judge by others; --validation FILE gives others"
            ]
        )
    notes: list[str] = []
    if allowed.distil is not None:
        unlabelled, notes = open_unlabelled(allowed.distil, source)
        allowed = replace(allowed, distil=bench.folder / "distil.npz")
        save_samples(bench.folder / "distil.npz", unlabelled)
    every = choose_calibration(source, max(used, _MOST))

    def make(folder: Path, plan: Plan) -> Conversion:
        save_samples(folder / CALIBRATION, every)
        plan.write(folder)
        return convert_all(
            folder,
            holdout.chooser.job(
                [attempt.name for attempt in plan.attempts],
                tolerant=True,
                memory=memory,
                switches=switches,
            ),
            timeout=timeout,
            progress=lambda text: progress(f"repair: {text}"),
            program="attempts",
        )

    shop = Workshop(
        bench=bench,
        holdout=holdout,
        make=make,
        used=used,
        available=len(every),
        progress=progress,
    )
    mended = repair(failing, measured, shop, allowed)
    mended.notes += notes
    return mended
