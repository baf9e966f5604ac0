"""Repair of artifacts that missed their budget: try, measure on other samples, take, judge.

What stays int8 comes first, in order of cost; fine-tuning and what leaves int8 need leave. The
choice is made on samples that do not judge it (``convert.holdout``): the best of several tries
looks better than it is on the samples that it was chosen by.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from convert.attempt import Attempt, Plan
from convert.conversion import Conversion
from convert.drift.gate import PairedCounts, tango_upper_bound
from convert.drift.metrics import OutputDrift
from convert.holdout import Holdout
from convert.islands import island_around
from convert.job import FLOAT_OUTPUTS, artifact_file
from convert.ladder import calibration_rung, fallback_rung, repairable_variant, tuning_rung
from convert.measure import Measured
from convert.measuring import Bench, measure_one, twin_of
from convert.repair_step import RepairStep
from convert.reproduce import float_values
from convert.settings import DEFAULT, Settings
from runtime.errors import ConverterError, EdgewardError, TargetError

__all__ = ["Allowed", "Repaired", "Workshop", "repair", "repairable"]

# How many of the worst activations the mixed artifact leaves in float.
_ISLANDS = (1, 2, 4)


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


@dataclass(frozen=True)
class Workshop:
    """Where attempts are made.

    Attributes:
        bench: What the final measurement is done with.
        holdout: Samples to choose by, and what is left to judge by.
        make: Makes the attempts of a plan in an empty folder, which gets the float model's
            outputs on the choosing samples too.
        used: Calibration samples that the artifacts were made with.
        available: Calibration samples that there are.
        progress: Called with one line per step.
    """

    bench: Bench
    holdout: Holdout
    make: Callable[[Path, Plan], Conversion]
    used: int
    available: int
    progress: Callable[[str], None]


@dataclass
class Repaired:
    """What became of the artifacts that missed their budget.

    Attributes:
        replaced: Artifact id -> the repaired artifact of the same id.
        instead: Artifact id -> id of the artifact that stands for it, which left int8.
        added: Those artifacts.
        settings: Artifact id -> how it was made.
        steps: The path, in order.
        notes: What the user should know.
    """

    replaced: dict[str, Measured] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)
    added: list[Measured] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    steps: list[RepairStep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def apply(self, measured: Sequence[Measured]) -> list[Measured]:
        """Return the artifacts with the repaired ones in the place of what they repair."""
        return [*(self.replaced.get(m.artifact.id, m) for m in measured), *self.added]


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
    if drift.decisions is None:
        return True
    return tango_upper_bound(PairedCounts(drift.samples, 0, 0)) <= drift.budget


@dataclass(frozen=True)
class _Tried:
    attempt: Attempt
    measured: Measured

    @property
    def excess(self) -> float:
        """How far the worst output's bound is from its budget; below 0 is within."""
        return max(d.upper_bound - d.budget for d in self.measured.worst)

    @property
    def good(self) -> bool:
        """Whether it is worth judging: within the budget, or as far as so few samples can tell."""
        return all(
            drift.verdict == "pass" or (not _provable(drift) and drift.drop <= drift.budget / 2)
            for drift in self.measured.worst
        )


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
    result = Repaired(notes=[f"repair chose by {shop.holdout.note}"])
    failing = [m for m in candidates if repairable(m, fallback=allowed.fallback)]
    tried: dict[str, list[_Tried]] = {m.artifact.id: [] for m in failing}
    state = _State(measured, shop, result)

    def rung(
        name: str, attempts_of: Callable[[Measured], list[Attempt]], distil: str | None
    ) -> None:
        left = [m for m in failing if not any(one.good for one in tried[m.artifact.id])]
        plans = {m.artifact.id: attempts_of(m) for m in left}
        attempts = [one for plan in plans.values() for one in plan]
        if not attempts:
            return
        shop.progress(f"repair: {name} for {', '.join(plans)}")
        made, folder = state.make(name, Plan(attempts, distil))
        for wanted, plan in plans.items():
            for attempt in plan:
                one = state.try_out(wanted, attempt, made, folder)
                tried[wanted] += [one] if one else []
                if one and one.good:
                    break

    rung(
        "another calibration",
        lambda m: calibration_rung(m.artifact.id, shop.used, shop.available),
        None,
    )
    if allowed.qat:
        rung(
            "fine-tuning",
            lambda m: tuning_rung(m.artifact.id, shop.used, _nearest(tried[m.artifact.id])),
            None if allowed.distil is None else str(allowed.distil.resolve()),
        )
    lost = [m for m in failing if not state.settle(m, tried[m.artifact.id])]
    if allowed.fallback and lost:
        _fall_back(lost, state)
    return result


def _nearest(tried: Sequence[_Tried]) -> Settings:
    return min(tried, key=lambda one: one.excess).attempt.settings if tried else DEFAULT


def _fall_back(lost: Sequence[Measured], state: _State) -> None:
    """Find the smallest artifact of each format that keeps the budget without being int8."""
    have = {m.artifact.id: m for m in state.measured}
    firsts = {m.artifact.format: m for m in reversed(lost)}
    plans = {
        format_: fallback_rung(m.artifact.id, state.shop.used, state.islands(m), list(have))
        for format_, m in firsts.items()
    }
    attempts = [one for plan in plans.values() for one in plan]
    state.shop.progress(f"repair: leaving int8 for {', '.join(m.artifact.id for m in lost)}")
    made, folder = state.make("fallback", Plan(attempts))
    for format_, plan in plans.items():
        wanted = [m.artifact.id for m in lost if m.artifact.format == format_]
        found = [state.try_out(wanted[0], attempt, made, folder) for attempt in plan]
        good = [one for one in found if one and one.good]
        for one in sorted(good, key=lambda one: one.measured.artifact.size):
            final = state.judge(wanted[0], one)
            if final is not None:
                state.result.added.append(final)
                state.result.instead |= dict.fromkeys(wanted, final.artifact.id)
                break


class _State:
    """The measurements of one repair."""

    def __init__(self, measured: Sequence[Measured], shop: Workshop, result: Repaired) -> None:
        self.measured = measured
        self.shop = shop
        self.result = result
        self._chooser: Bench | None = None

    def make(self, name: str, plan: Plan) -> tuple[Conversion, Path]:
        """Make the attempts; what cannot be made is in ``missing``."""
        folder = self.shop.bench.folder / f"repair-{name.replace(' ', '-')}"
        folder.mkdir()
        try:
            made = self.shop.make(folder, plan)
        except (ConverterError, TargetError) as error:
            made = Conversion(missing={one.name: error.message for one in plan.attempts})
        self.result.notes += made.notes
        if self._chooser is None and (folder / FLOAT_OUTPUTS).exists():
            source = self.shop.holdout.chooser
            values = float_values(folder / FLOAT_OUTPUTS, source)
            self._chooser = replace(self.shop.bench, source=source, values=values)
        return made, folder

    def islands(self, measured: Measured) -> list[tuple[str, ...]]:
        """Return what to leave in float: around the worst activation, the worst two, four."""
        twin = self.shop.bench.folder / artifact_file("tflite-fp32")
        layers = measured.layers
        if measured.artifact.format != "tflite" or layers is None or not twin.exists():
            return []
        data = twin.read_bytes()
        worst = [island_around(data, one.tensor) for one in layers.layers]
        found = []
        for count in _ISLANDS:
            tensors = tuple(dict.fromkeys(name for island in worst[:count] for name in island))
            # One that holds everything is the float32 artifact.
            if tensors and tensors not in found and len(tensors) < layers.tensors:
                found.append(tensors)
        return found

    def try_out(
        self, wanted: str, attempt: Attempt, made: Conversion, folder: Path
    ) -> _Tried | None:
        """Measure one attempt on the choosing samples."""
        if attempt.name not in made.made or self._chooser is None:
            why = made.missing.get(attempt.name, "the converter did not get that far")
            self.result.steps.append(RepairStep.failed(wanted, attempt, why))
            return None
        self.shop.progress(f"repair: measuring {attempt.artifact}, {attempt.describe()}")
        bench = replace(self._chooser, folder=attempt.file(folder).parent)
        try:
            measured = self._measure(attempt, made.made[attempt.name], bench)
        except EdgewardError as error:
            self.result.steps.append(RepairStep.failed(wanted, attempt, str(error)))
            return None
        self.result.steps.append(RepairStep.of(wanted, attempt, measured, "validation"))
        return _Tried(attempt, measured)

    def _measure(self, attempt: Attempt, stateful: bool, bench: Bench) -> Measured:
        twin = twin_of(attempt.artifact)
        size = next((m.artifact.size for m in self.measured if m.artifact.id == twin), None)
        return measure_one(attempt.artifact, stateful, size, bench, attempt.settings.float_layers)[
            0
        ]

    def settle(self, original: Measured, tried: Sequence[_Tried]) -> bool:
        """Judge the first good attempt; tells whether it keeps the budget."""
        good = next((one for one in tried if one.good), None)
        if good is None:
            return False
        final = self.judge(original.artifact.id, good)
        if final is None:
            return False
        self.result.replaced[original.artifact.id] = final
        return True

    def judge(self, wanted: str, one: _Tried) -> Measured | None:
        """Measure what was chosen on the samples that judge; None where it does not pass."""
        holdout, attempt = self.shop.holdout, one.attempt
        folder = self.shop.bench.folder / f"judged-{attempt.name}"
        folder.mkdir()
        (folder / artifact_file(attempt.artifact)).write_bytes(one.measured.data)
        twin = self.shop.bench.folder / artifact_file(twin_of(attempt.artifact))
        if twin.exists():
            # For the comparison layer by layer.
            shutil.copyfile(twin, folder / twin.name)
        bench = replace(self.shop.bench, folder=folder, source=holdout.judge, values=holdout.values)
        self.shop.progress(f"repair: judging {attempt.artifact}, {attempt.describe()}")
        final = self._measure(attempt, one.measured.artifact.stateful, bench)
        passed = final.verdict == "pass"
        self.result.steps.append(RepairStep.of(wanted, attempt, final, "test", taken=passed))
        if not passed:
            return None
        self.result.settings[attempt.artifact] = attempt.describe()
        return final
