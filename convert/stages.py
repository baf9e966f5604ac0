"""The four stages of a conversion, each with what it hands on: open, make, judge, write.

Imports what takes seconds, so ``convert.pipeline`` imports it only where there is work to do.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeward import __version__
from edgeward.convert.bundle.contents import record_of, report_files, runtime_files
from edgeward.convert.bundle.devices import device_rows
from edgeward.convert.bundle.fingerprint import artifact_key
from edgeward.convert.bundle.reuse import Shelf, take_over
from edgeward.convert.bundle.write import (
    REPORTS,
    check_target,
    previous_release,
    refusal_of,
    remove_refusal,
    write_bundle,
    write_refusal,
)
from edgeward.convert.measure.bench import Bench, measure_all
from edgeward.convert.measure.measure import Measured
from edgeward.convert.measure.parity import parity
from edgeward.convert.measure.records import Parity, ParityRow, Reproduction
from edgeward.convert.measure.reproduce import float_values, reproduce
from edgeward.convert.options import Options
from edgeward.convert.repair.repair import Allowed, Repaired, mend
from edgeward.convert.report.report import (
    ConversionReport,
    artifact_reports,
    notes_on,
    refused,
)
from edgeward.convert.report.words import accepted
from edgeward.convert.samples.calibration import DEFAULT_COUNT, choose_calibration
from edgeward.convert.samples.check import check_splits, open_unlabelled
from edgeward.convert.samples.golden import choose_golden
from edgeward.convert.samples.leakage import find_leakage, without_leaked
from edgeward.convert.samples.suspicion import suspicions
from edgeward.convert.settings import Switches
from edgeward.convert.source.files import Hashes
from edgeward.convert.source.open import open_source
from edgeward.convert.source.source import Source
from edgeward.convert.source.user import UserData
from edgeward.convert.targets.target import Target, adapt, choose_targets, switches_for
from edgeward.convert.variants import plan
from edgeward.convert.worker.conversion import Conversion, convert_all
from edgeward.convert.worker.job import CALIBRATION, FLOAT_OUTPUTS
from edgeward.convert.worker.memory import default_memory
from edgeward.convert.worker.packages import check_installed
from edgeward.runtime.errors import TargetError
from edgeward.runtime.locks import locked
from edgeward.runtime.samples import Samples, save_samples

__all__ = ["Judged", "Made", "Task", "judge", "make", "open_task", "write"]


@dataclass(frozen=True)
class Task:
    """What is to be done, checked before anything takes time.

    Attributes:
        source: The model and its data.
        path: Folder of the bundle.
        ids: Artifacts to make, the float32 twin of each format first.
        missing: Artifact id -> why no format has it.
        targets: Format -> the runtimes that must accept its artifacts.
        switches: What the targets need of the converter.
        calibration: The samples to calibrate with.
        memory: Bytes that the converter may take; 0 is no limit.
        key_of: Artifact id -> hash of everything that the artifact depends on.
        notes: What the user should know.
    """

    source: Source
    path: Path
    ids: Sequence[str]
    missing: Mapping[str, str]
    targets: Mapping[str, Sequence[Target]]
    switches: Switches
    calibration: Samples
    memory: int
    key_of: Callable[[str], str]
    notes: Sequence[str]


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        folder: Work folder, which holds the artifacts and the float model's outputs.
        conversion: What is there, and what could not be made.
        reused: Ids of the artifacts that an earlier conversion made.
    """

    folder: Path
    conversion: Conversion
    reused: Sequence[str]


@dataclass(frozen=True)
class Judged:
    """What was measured, and what follows from it.

    Attributes:
        reproductions: Output name -> reproduction of the run's metric.
        golden: The golden inputs.
        measured: All artifacts, repaired where that helped.
        mended: What became of those that missed their budget.
        passed: The artifacts that may be bundled.
        doubts: What looks wrong with the calibration samples.
        parity: The bundled artifacts on every runtime, where that was asked for.
        final: Whether asking again would give the same: no device was out of reach, and no
            comparison failed of a crash, of memory or of time.
        notes: What the user should know.
    """

    reproductions: Mapping[str, Reproduction]
    golden: Samples
    measured: Sequence[Measured]
    mended: Repaired
    passed: Sequence[Measured]
    doubts: list[str]
    parity: list[ParityRow] = field(default_factory=list)
    final: bool = True
    notes: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        """Whether every artifact may be bundled, or another stands for it."""
        return all(m in self.passed or m.artifact.id in self.mended.instead for m in self.measured)


def open_task(options: Options, hashes: Hashes, damage: Sequence[str] = ()) -> Task:
    """Open the source, and find out what is to be made of it for which runtimes.

    Args:
        options: What is asked for.
        hashes: Of the files that were read already.
        damage: Notes on earlier conversions that cannot be used.

    Raises:
        MissingExtraError: A package of converting is not installed.
        UsageError: Options that do not go with the source or with each other.
        InvalidInputError: Model or data cannot be used.
        TargetError: No format or no target can have what is asked for.
    """
    check_installed()
    ids, missing = plan(options.variants, options.formats, everything=options.everything)
    targets = choose_targets(options.target, options.formats)
    notes = [*damage, *(one.note for some in targets.values() for one in some if one.note)]
    if not options.everything:
        ids, exchanged = adapt(ids, targets)
        notes += exchanged
    memory = default_memory() if options.memory is None else options.memory
    source = open_source(
        options.source,
        UserData(
            calibration=options.calibration,
            test=options.test,
            validation=options.validation,
            labels=options.labels,
            preprocessing=options.preprocessing,
            shapes=options.shapes or {},
            expect=options.expect or {},
        ),
        runs=options.runs,
        timeout=options.timeout,
        progress=options.tell,
        memory=memory,
        hashes=hashes,
    )
    path = Path(options.out) / source.name
    check_target(path)
    check_splits(source)
    if options.distil is not None:
        open_unlabelled(options.distil, source)  # an error there comes before minutes of work
    find_leakage(source)  # an error before anything takes time
    options.tell(f"converting {source.run} ({', '.join(ids)})")
    calibration = choose_calibration(source, options.calibration_samples or DEFAULT_COUNT)
    switches = switches_for(targets)
    return Task(
        source=source,
        path=path,
        ids=ids,
        missing=missing,
        targets=targets,
        switches=switches,
        calibration=calibration,
        memory=memory,
        key_of=functools.cache(
            functools.partial(
                artifact_key, source=source, switches=switches, calibration=calibration
            )
        ),
        notes=notes,
    )


def make(options: Options, task: Task, shelves: Sequence[Shelf], folder: Path) -> Made:
    """Take over what was made before and convert the rest.

    Args:
        options: What is asked for.
        task: What is to be done.
        shelves: What the last conversions left.
        folder: An empty work folder.

    Raises:
        TargetError: A format cannot hold the model, or the converter crashed or ran out of time.
    """
    save_samples(folder / CALIBRATION, task.calibration)
    taken = take_over(shelves, task.ids, task.key_of, folder, tolerant=options.everything)
    if taken.made:
        options.tell(f"reused, not converted again: {', '.join(taken.made)}")
    conversion = convert_all(
        folder,
        task.source.job(
            [name for name in task.ids if name not in taken.asked],
            tolerant=options.everything,
            memory=task.memory,
            switches=task.switches,
        ),
        timeout=options.timeout,
        progress=options.tell,
    )
    conversion = taken.add_to(conversion)
    conversion.missing = {**task.missing, **conversion.missing}
    return Made(folder=folder, conversion=conversion, reused=list(taken.made))


def judge(options: Options, task: Task, made: Made) -> Judged:
    """Measure what was made against the float model, and try to mend what misses its budget.

    Args:
        options: What is asked for.
        task: What is to be done.
        made: What was made; what cannot be measured is added to its ``missing``.

    Raises:
        ReproductionError: The float model does not give the metric that is known of it.
        TargetError: An artifact cannot be used; under ``everything`` only where none can.
    """
    source, conversion = task.source, made.conversion
    values = float_values(made.folder / FLOAT_OUTPUTS, source)
    reproductions = reproduce(source, values)
    for output, r in reproductions.items():
        said = "gives" if r.expected is None else "reproduces"
        options.tell(f"float model {said} {output}: {r.metric} {r.measured:.4f}")
    golden = choose_golden(source, values)
    judges, judged_values, leaked = without_leaked(source, values)
    bench = Bench(
        folder=made.folder,
        source=judges,
        values=judged_values,
        golden=golden,
        max_drop=options.max_drop,
        targets=task.targets,
        timeout=options.timeout,
        memory=task.memory,
    )
    found = measure_all(conversion, bench, tolerant=options.everything, progress=options.tell)
    if not found:
        raise TargetError("Nothing could be made.", received=conversion.missing)
    mended = Repaired()
    if options.repair:
        mended = mend(
            failing=[m for m in found if not accepted(m, options.allow_inconclusive)],
            measured=found,
            bench=bench,
            source=source,
            allowed=Allowed(qat=options.qat, fallback=options.fallback, distil=options.distil),
            used=len(task.calibration),
            switches=task.switches,
            timeout=options.timeout,
            memory=task.memory,
            progress=options.tell,
        )
    measured = mended.apply(found)
    passed = [m for m in measured if accepted(m, options.allow_inconclusive)]
    notes: list[str] = []
    doubts = suspicions(judges, task.calibration, notes)
    here = elsewhere = Parity([])
    if options.with_parity and passed:
        here = parity(passed, judges, options.tell, timeout=options.timeout, memory=task.memory)
        versions = _created_with(conversion)
        files = runtime_files(source, passed, release=1, golden=golden, created_with=versions)
        elsewhere = device_rows(files, judges.test, options.tell, timeout=options.timeout)
    return Judged(
        reproductions=reproductions,
        golden=golden,
        measured=measured,
        mended=mended,
        passed=passed,
        doubts=doubts,
        parity=[*here.rows, *elsewhere.rows],
        final=not (here.again or elsewhere.again),
        notes=[*notes, *leaked, *mended.notes, *([elsewhere.why_not] if elsewhere.why_not else [])],
    )


def write(
    options: Options, task: Task, made: Made, judged: Judged, *, request: str, started: float
) -> ConversionReport:
    """Write the bundle of what passed, or the report of a refusal, or both.

    Args:
        options: What is asked for.
        task: What is to be done.
        made: What was made.
        judged: What was measured.
        request: Hash of what is asked for; empty where it is not to be remembered.
        started: ``time.monotonic()`` when the conversion began.

    Raises:
        RefusedError: An artifact drifted too far or could not be judged.
    """
    record = record_of(
        request if judged.final else "",
        made.conversion,
        judged.measured,
        judged.mended.transient,
        # What was repaired is not what the ordinary way makes of the same.
        lambda name: "" if name in judged.mended.settings else task.key_of(name),
    )
    refusal = refusal_of(task.path)
    if judged.passed and (judged.complete or options.keep_passing):
        options.tell(f"writing {task.path}")
        with locked(task.path.parent):
            release = previous_release(task.path) + 1
            report = _report(options, task, made, judged, release=release, started=started)
            reports = report_files(report, record)
            files = runtime_files(
                task.source,
                judged.passed,
                release=release,
                golden=judged.golden,
                created_with=report.created_with,
            )
            write_bundle(task.path, {**files, **reports})
    else:
        report = _report(options, task, made, judged, release=None, started=started)
        reports = report_files(report, record)
    if judged.complete:
        remove_refusal(refusal)
        return report
    # The artifacts are there for the next conversion, which may only have another budget. There is
    # no manifest, so no runtime takes them for a bundle.
    write_refusal(refusal, {**reports, **{m.artifact.file: m.data for m in judged.measured}})
    raise refused(report, refusal / REPORTS[0], allow_inconclusive=options.allow_inconclusive)


def _report(
    options: Options,
    task: Task,
    made: Made,
    judged: Judged,
    *,
    release: int | None,
    started: float,
) -> ConversionReport:
    """Return the report; with a release, of a bundle that holds what passed."""
    source, conversion, doubts = task.source, made.conversion, judged.doubts
    bundled = [] if release is None else judged.passed
    return ConversionReport(
        name=source.name,
        run=source.run,
        bundle=None if release is None else task.path,
        release=release,
        budget=source.budget if options.max_drop is None else options.max_drop,
        targets={format_: ", ".join(map(str, some)) for format_, some in task.targets.items()},
        reproductions=judged.reproductions,
        calibration={
            "samples": len(task.calibration),
            "source": source.calibration_name,
            "suspicions": doubts,
        },
        artifacts=artifact_reports(judged.measured, bundled, doubts, judged.mended),
        repair=judged.mended.steps,
        parity=judged.parity,
        not_made=conversion.missing,
        created_with=_created_with(conversion),
        seconds=round(time.monotonic() - started, 2),
        labels={n: list(s.labels) for n, s in source.outputs.items() if s.labels},
        notes=[
            *source.notes,
            *task.notes,
            *judged.notes,
            *notes_on(conversion, judged.measured, doubts),
        ],
        reused=[m.artifact.id for m in judged.measured if m.artifact.id in made.reused],
    )


def _created_with(conversion: Conversion) -> dict[str, str]:
    return {"edgeward": __version__, **conversion.versions}
