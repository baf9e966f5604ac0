"""Making, choosing and judging the attempts of a repair; every step is noted for the report.

Only the samples that choose are looked at before one attempt is judged.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeward.convert.drift.gate import PairedCounts, upper_bound
from edgeward.convert.drift.metrics import OutputDrift
from edgeward.convert.measure.bench import Bench, measure_one
from edgeward.convert.measure.measure import Measured
from edgeward.convert.measure.reproduce import float_values
from edgeward.convert.repair.holdout import Holdout
from edgeward.convert.repair.ladder import repairable_variant
from edgeward.convert.repair.step import RepairStep
from edgeward.convert.settings import DEFAULT, Settings
from edgeward.convert.variants import ArtifactId
from edgeward.convert.worker.conversion import Conversion
from edgeward.convert.worker.job import FLOAT_OUTPUTS, Attempt, Plan
from edgeward.convert.worker.memory import is_transient
from edgeward.runtime.errors import ConverterError, EdgewardError, InvalidDataError, TargetError

__all__ = ["Trials", "Tried", "Workshop", "choose", "nearest", "repairable"]

# How many of the worst activations the mixed artifact leaves in float.
_ISLANDS = (1, 2, 4)

# Of the budget: a drop within it may well be proven by the samples that judge, which are more.
_HOPE = 0.5


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


class Trials:
    """The attempts of one repair. What fails costs an attempt, never the conversion.

    Args:
        measured: All artifacts of the conversion.
        shop: Where attempts are made and measured.

    Attributes:
        steps: What was tried, in order.
        notes: What the user should know.
        transient: Names of the attempts that failed of a crash, of memory or of time.
    """

    def __init__(self, measured: Sequence[Measured], shop: Workshop) -> None:
        self.steps: list[RepairStep] = []
        self.notes: list[str] = []
        self.transient: set[str] = set()
        self._measured = measured
        self._shop = shop
        self._outputs: Path | None = None
        self._chooser: Bench | None = None

    def make(self, name: str, plan: Plan) -> tuple[Conversion, Path]:
        """Make the attempts in a folder of their own; what cannot be made is in ``missing``."""
        folder = self._shop.bench.folder / f"repair-{name.replace(' ', '-')}"
        folder.mkdir()
        self._shop.progress(f"repair: {name}, {len(plan.attempts)} attempts")
        outputs = folder / FLOAT_OUTPUTS
        if self._outputs is not None:
            shutil.copyfile(self._outputs, outputs)
        try:
            made = self._shop.make(folder, plan)
        except (ConverterError, InvalidDataError, TargetError) as error:
            made = Conversion()
            for attempt in plan.attempts:
                made.fail(attempt.name, error)
        self.transient |= made.transient
        self.notes += [note for note in made.notes if note not in self.notes]
        if self._chooser is None and made.made:
            source = self._shop.holdout.chooser
            values = float_values(outputs, source)
            self._outputs = outputs
            self._chooser = replace(self._shop.bench, source=source, values=values)
        return made, folder

    def islands(self, measured: Measured) -> list[tuple[str, ...]]:
        """Return what to leave in float: around the worst activation, the worst two, four."""
        artifact = ArtifactId.parse(measured.artifact.id)
        twin = self._shop.bench.folder / artifact.twin.file
        layers = measured.layers
        if not artifact.format.islands or layers is None or not twin.exists():
            return []
        data = twin.read_bytes()
        around = artifact.format.island_around
        worst = [around(data, drift.tensor) for drift in layers.layers[: max(_ISLANDS)]]
        islands: list[tuple[str, ...]] = []
        for count in _ISLANDS:
            tensors = tuple(dict.fromkeys(name for island in worst[:count] for name in island))
            # One that holds everything is the float32 artifact.
            if tensors and tensors not in islands and len(tensors) < layers.tensors:
                islands.append(tensors)
        return islands

    def try_out(
        self, wanted: str, attempt: Attempt, made: Conversion, folder: Path
    ) -> Tried | None:
        """Measure one attempt on the choosing samples; None where there is nothing to measure."""
        if attempt.name not in made.made or self._chooser is None:
            why = made.missing.get(attempt.name, "the converter did not get that far")
            self.steps.append(RepairStep.failed(wanted, attempt, "validation", why))
            return None
        self._shop.progress(f"repair: measuring {attempt.label}")
        bench = replace(self._chooser, folder=attempt.file(folder).parent)
        try:
            measured = self._measure(attempt, made.made[attempt.name], bench)
        except EdgewardError as error:
            self._failed(wanted, attempt, "validation", error)
            return None
        self.steps.append(RepairStep.of(wanted, attempt, measured, "validation"))
        return Tried(attempt, measured)

    def judge(self, wanted: str, tried: Tried) -> Measured | None:
        """Measure what was chosen on the samples that judge; None where it does not pass."""
        holdout, attempt = self._shop.holdout, tried.attempt
        folder = self._shop.bench.folder / f"judged-{attempt.name}"
        folder.mkdir()
        artifact = ArtifactId.parse(attempt.artifact)
        (folder / artifact.file).write_bytes(tried.measured.data)
        twin = self._shop.bench.folder / artifact.twin.file
        if twin.exists():
            # For the comparison layer by layer.
            shutil.copyfile(twin, folder / twin.name)
        bench = replace(
            self._shop.bench, folder=folder, source=holdout.judge, values=holdout.values
        )
        self._shop.progress(f"repair: judging {attempt.label}")
        try:
            final = self._measure(attempt, tried.measured.artifact.stateful, bench)
        except EdgewardError as error:
            self._failed(wanted, attempt, "test", error)
            return None
        # Unverified are outputs without targets, which no attempt can change.
        passed = final.verdict in ("pass", "unverified")
        self.steps.append(RepairStep.of(wanted, attempt, final, "test", taken=passed))
        return final if passed else None

    def _failed(self, wanted: str, attempt: Attempt, samples: str, error: EdgewardError) -> None:
        self.steps.append(RepairStep.failed(wanted, attempt, samples, str(error)))
        self.transient |= {attempt.name} if is_transient(error) else set()

    def _measure(self, attempt: Attempt, stateful: bool, bench: Bench) -> Measured:
        twin = str(ArtifactId.parse(attempt.artifact).twin)
        size = next((m.artifact.size for m in self._measured if m.artifact.id == twin), None)
        measured, _ = measure_one(
            attempt.artifact, stateful, size, bench, attempt.settings.float_layers
        )
        return measured


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
        """Whether it keeps every budget there, and runtimes agree on it."""
        return self.measured.parting is None and all(
            drift.verdict == "pass" for drift in self.measured.worst
        )

    @property
    def hopeful(self) -> bool:
        """Whether only more samples are missing: each drop is well within its budget."""
        return self.measured.parting is None and all(
            drift.verdict == "pass"
            or (drift.verdict == "inconclusive" and drift.drop <= _HOPE * drift.budget)
            for drift in self.measured.worst
        )


def choose(tried: Sequence[Tried]) -> Tried | None:
    """Return the attempt to judge: the first good one, or else the nearest that is hopeful.

    One for each rung of the ladder: among many that are judged one would pass by luck.
    """
    good = next((attempt for attempt in tried if attempt.good), None)
    hopeful = [attempt for attempt in tried if attempt.hopeful]
    return good or min(hopeful, key=lambda attempt: attempt.excess, default=None)


def nearest(tried: Sequence[Tried]) -> Settings:
    """Return the settings that came nearest to the budget; the default where none was tried."""
    if not tried:
        return DEFAULT
    return min(tried, key=lambda attempt: attempt.excess).attempt.settings


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
