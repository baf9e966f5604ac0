"""The order of a conversion: load, convert, reproduce, measure, judge, write."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from convert.bundling import bundle_files
from convert.calibration import DEFAULT_COUNT, choose_calibration, suspicions
from convert.conversion import Conversion, convert_all, default_memory
from convert.goldens import choose_golden
from convert.job import CALIBRATION, FLOAT_OUTPUTS
from convert.measure import Measured
from convert.measuring import Bench, measure_all, twin_of
from convert.refusal import accepted, reason, refused
from convert.report import ArtifactReport, ConversionReport
from convert.reproduce import float_values, reproduce
from convert.source import open_source
from convert.target_check import adapt, choose_targets, switches_for
from convert.variants import FORMATS, INT8, plan
from convert.write import (
    REPORTS,
    check_target,
    locked,
    previous_release,
    remove_refusal,
    write_bundle,
)
from runtime import __version__
from runtime.errors import TargetError, UsageError
from runtime.files import write_atomic
from runtime.samples import save_samples

__all__ = ["DEFAULT_TIMEOUT", "convert"]

DEFAULT_TIMEOUT = 1800.0


def convert(
    source: Path | str | None = None,
    *,
    variants: Sequence[str] = (INT8.id,),
    formats: Sequence[str] = FORMATS,
    out: Path | str = "bundles",
    runs: Path | str = "runs",
    everything: bool = False,
    max_drop: float | None = None,
    target: str | None = None,
    calibration: Path | None = None,
    calibration_samples: int = DEFAULT_COUNT,
    test: Path | None = None,
    validation: Path | None = None,
    labels: Path | None = None,
    preprocessing: Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    expect: Mapping[str, float] | None = None,
    allow_inconclusive: bool = False,
    keep_passing: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    memory: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> ConversionReport:
    """Convert a model, measure each artifact against the float model and write a bundle.

    Args:
        source: A run folder, a ``.keras`` or ``.h5`` file or a SavedModel folder; None takes the
            latest run below ``runs``.
        variants: Variant ids, see ``convert.variants``; float32 comes along always.
        formats: ``tflite``, ``onnx``.
        everything: Make every variant that model and target allow; ``report.not_made`` says why
            for each one that is not there.
        out: Folder of bundles; the bundle is ``out/<recipe>``.
        runs: Where to look for the latest run.
        max_drop: Largest upper bound of the drop allowed: a fraction of accuracy, an increase of
            the error, or dB below 100; None takes the recipe's.
        target: Runtime that must accept the artifacts, ``NAME==VERSION``; None is the oldest
            supported one of each format (``convert.targets``).
        calibration: ``.npz`` of raw samples to calibrate with instead of the run's.
        calibration_samples: How many of them.
        test: For a user's model: ``.npz`` of raw samples and targets; without it the artifacts are
            *unverified* (docs/your-own-model.md).
        validation: For a user's model: the same of the validation split.
        labels: For a user's model: class names, one per line.
        preprocessing: For a user's model: specs of inputs and outputs as JSON.
        shapes: For a user's model: input name -> dimensions after the batch that it leaves open.
        expect: For a user's model: metric -> value that the float model must give.
        allow_inconclusive: Bundle artifacts that too few samples could judge, marked.
        keep_passing: Bundle the artifacts that pass although others were refused.
        timeout: Seconds that the converter may take.
        memory: Bytes that the converter may take; 0 is no limit, None nine tenths of the machine's.
        progress: Called with one line per step.

    Returns:
        The report of the bundle written.

    Raises:
        RefusedError: An artifact drifted too far or could not be judged; ``.report`` tells. The
            previous bundle stays as it was, except under ``keep_passing``.
        InvalidInputError: Run, model or data are invalid, or the float model does not reproduce
            the run's metric.
        TargetError: A format or the target cannot hold the model, or the converter crashed or ran
            out of time; under ``everything`` only where nothing at all could be made.

    >>> from convert import convert                                      # doctest: +SKIP
    >>> report = convert("runs/mnist_cnn/001", max_drop=0.002)           # doctest: +SKIP
    >>> [(a.id, a.verdict) for a in report.artifacts]                    # doctest: +SKIP
    [('tflite-fp32', 'pass'), ('tflite-int8', 'pass'), ('onnx-fp32', 'pass'), ('onnx-int8', 'pass')]
    """
    started = time.monotonic()
    progress = progress or _silent
    if max_drop is not None and not 0 < max_drop < 100:
        raise UsageError("The budget makes no sense.", received=max_drop, expected="0 < X < 100")
    if calibration_samples < 1:
        raise UsageError("No calibration samples.", received=calibration_samples, expected=">= 1")
    if not 0 < timeout < float("inf"):
        raise UsageError("No time to convert in.", received=timeout, expected="seconds > 0")
    ids, missing = plan(variants, formats, everything=everything)
    targets = choose_targets(target, formats)
    notes: list[str] = [one.note for one in targets.values() if one.note]
    if not everything:
        ids, exchanged = adapt(ids, targets)
        notes += exchanged
    opened = open_source(
        source,
        runs=runs,
        calibration=calibration,
        test=test,
        validation=validation,
        labels=labels,
        preprocessing=preprocessing,
        shapes=shapes,
        expect=expect,
        timeout=timeout,
        progress=progress,
    )
    path = Path(out) / opened.name
    check_target(path)
    progress(f"converting {opened.run} ({', '.join(ids)})")
    budget = opened.budget if max_drop is None else max_drop
    chosen = choose_calibration(opened, calibration_samples)
    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        folder = Path(name)
        save_samples(folder / CALIBRATION, chosen)
        conversion = convert_all(
            *(folder, opened, ids),
            tolerant=everything,
            switches=switches_for(targets),
            timeout=timeout,
            memory=default_memory() if memory is None else memory,
            progress=progress,
        )
        conversion.missing = {**missing, **conversion.missing}
        values = float_values(folder / FLOAT_OUTPUTS, opened)
        reproductions = reproduce(opened, values)
        for output, r in reproductions.items():
            said = "gives" if r.expected is None else "reproduces"
            progress(f"float model {said} {output}: {r.metric} {r.measured:.4f}")
        golden = choose_golden(opened, values)
        bench = Bench(folder, opened, values, golden, max_drop, targets)
        measured = measure_all(conversion, bench, tolerant=everything, progress=progress)
    if not measured:
        raise TargetError("Nothing could be made.", received=conversion.missing)
    doubts = suspicions(opened, chosen)
    passed = [m for m in measured if accepted(m, allow_inconclusive)]
    complete = len(passed) == len(measured)
    write = bool(passed) and (complete or keep_passing)

    def report_of(release: int | None) -> ConversionReport:
        return ConversionReport(
            name=opened.name,
            run=opened.run,
            bundle=None if release is None else path,
            release=release,
            budget=budget,
            targets={format_: str(one) for format_, one in targets.items()},
            reproductions=reproductions,
            calibration={
                "samples": len(chosen),
                "source": opened.calibration_name,
                "suspicions": doubts,
            },
            artifacts=_artifact_reports(measured, passed if release else [], doubts),
            not_made=conversion.missing,
            created_with={"edgeward": __version__, **conversion.versions},
            seconds=round(time.monotonic() - started, 2),
            labels={n: list(s.labels) for n, s in opened.outputs.items() if s.labels},
            notes=[*opened.notes, *notes, *_notes(conversion, measured, doubts)],
        )

    report = report_of(None)
    if write:
        progress(f"writing {path}")
        with locked(path.parent):
            release = previous_release(path) + 1
            report = report_of(release)
            write_bundle(path, bundle_files(opened, passed, report, release, golden))
    refusal = path.with_name(f"{path.name}.refused")
    if complete:
        remove_refusal(refusal)
        return report
    for file, data in ((REPORTS[0], report.to_html()), (REPORTS[1], report.to_bytes())):
        write_atomic(refusal / file, data)
    raise refused(report, refusal / REPORTS[0])


def _silent(text: str) -> None:
    """Report no progress."""


def _artifact_reports(
    measured: Sequence[Measured], bundled: Sequence[Measured], doubts: list[str]
) -> list[ArtifactReport]:
    sizes = {m.artifact.id: m.artifact.size for m in measured}
    return [
        ArtifactReport.of(
            m, sizes.get(twin_of(m.artifact.id)), bundled=m in bundled, reason=reason(m, doubts)
        )
        for m in measured
    ]


def _notes(
    conversion: Conversion, measured: Sequence[Measured], doubts: Sequence[str]
) -> list[str]:
    unusable = [
        f"{m.artifact.id} does not run on {name}: {why.splitlines()[0]}"
        for m in measured
        for name, why in m.unusable.items()
    ]
    return [*conversion.notes, *unusable, *(f"suspicious: {doubt}" for doubt in doubts)]
