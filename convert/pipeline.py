"""The order of a conversion: load, convert, reproduce, measure, judge, write."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgeward import __version__
from edgeward.convert.bundle.fingerprint import Request, artifact_key
from edgeward.convert.bundle.reuse import Shelf, open_shelves, recall, take_over
from edgeward.convert.bundle.write import (
    REPORTS,
    check_target,
    previous_release,
    refusal_of,
    remove_refusal,
    write_bundle,
    write_refusal,
)
from edgeward.convert.formats import FORMATS
from edgeward.convert.report.report import ConversionReport
from edgeward.convert.source.open import open_source
from edgeward.convert.variants import INT8, plan
from edgeward.convert.worker.conversion import convert_all, default_memory
from edgeward.convert.worker.job import CALIBRATION, FLOAT_OUTPUTS
from edgeward.runtime.errors import MissingExtraError, TargetError, UsageError
from edgeward.runtime.locks import locked
from edgeward.runtime.samples import save_samples

__all__ = ["DEFAULT_TIMEOUT", "convert"]

DEFAULT_TIMEOUT = 1800.0


def convert(
    source: Path | str | None = None,
    *,
    variants: Sequence[str] = (INT8.id,),
    formats: Sequence[str] = tuple(FORMATS),
    out: Path | str = "bundles",
    runs: Path | str = "runs",
    everything: bool = False,
    max_drop: float | None = None,
    target: str | None = None,
    calibration: Path | None = None,
    calibration_samples: int | None = None,
    test: Path | None = None,
    validation: Path | None = None,
    labels: Path | None = None,
    preprocessing: Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    expect: Mapping[str, float] | None = None,
    allow_inconclusive: bool = False,
    keep_passing: bool = False,
    repair: bool = True,
    qat: bool = False,
    fallback: bool = False,
    distil: Path | None = None,
    with_parity: bool = False,
    reuse: bool = True,
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
            supported one of each format (``convert.targets.target``).
        calibration: ``.npz`` of raw samples to calibrate with instead of the run's.
        calibration_samples: How many of them; None takes
            ``convert.samples.calibration.DEFAULT_COUNT``.
        test: For a user's model: ``.npz`` of raw samples and targets; without it the artifacts are
            *unverified* (docs/your-own-model.md).
        validation: For a user's model: the same of the validation split.
        labels: For a user's model: class names, one per line.
        preprocessing: For a user's model: specs of inputs and outputs as JSON.
        shapes: For a user's model: input name -> dimensions after the batch that it leaves open.
        expect: For a user's model: metric -> value that the float model must give.
        allow_inconclusive: Bundle artifacts that too few samples could judge, marked.
        keep_passing: Bundle the artifacts that pass although others were refused.
        repair: Try to mend what misses the budget: another calibration first, and with leave
            ``qat`` and ``fallback``. ``report.repair`` tells the path.
        qat: Fine-tune the weights where calibration does not help.
        fallback: Leave int8 where nothing else helps: the worst layers in float, int16x8, dynamic
            or float16, under their own ids.
        distil: ``.npz`` of raw samples to fine-tune on; None takes the calibration samples.
        with_parity: Compare the bundled artifacts on every runtime and kernel set of this machine;
            ``report.parity`` tells how far they differ.
        reuse: Take over what an earlier conversion made of the same: an unchanged request is
            answered at once, and only artifacts that are new or changed are converted.
        timeout: Seconds that each step may take: loading a user's model, converting, measuring
            each artifact.
        memory: Bytes that the converter may take; 0 is no limit, None nine tenths of the machine's,
            or of the container's where that has less.
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

    >>> from edgeward.convert import convert                                      # doctest: +SKIP
    >>> report = convert("runs/mnist_cnn/001", max_drop=0.002)           # doctest: +SKIP
    >>> [(a.id, a.verdict) for a in report.artifacts]                    # doctest: +SKIP
    [('tflite-fp32', 'pass'), ('tflite-int8', 'pass'), ('onnx-fp32', 'pass'), ('onnx-int8', 'pass')]
    """
    options = dict(locals())
    started = time.monotonic()
    progress = progress or _silent
    if max_drop is not None and not 0 < max_drop < 100:
        raise UsageError("The budget makes no sense.", received=max_drop, expected="0 < X < 100")
    if calibration_samples is not None and calibration_samples < 1:
        raise UsageError("No calibration samples.", received=calibration_samples, expected=">= 1")
    if distil is not None and not qat:
        raise UsageError(
            "Samples to fine-tune on, but no fine-tuning.", received=distil, fix="--qat"
        )
    if not 0 < timeout < float("inf"):
        raise UsageError("No time to convert in.", received=timeout, expected="seconds > 0")
    request = Request.of(options) if reuse else None
    shelves: list[Shelf] = []
    damage: list[str] = []
    if request is not None:
        before = Path(out) / request.name
        shelves, damage = open_shelves(before)
        known = recall(before, request.key, shelves)
        if known is not None:
            return known
    # Only now what takes seconds to import: a request that was answered before needs none of it.
    try:
        from edgeward.convert.bundle.contents import bundle_files, record_of, refusal_files
        from edgeward.convert.bundle.devices import device_rows
        from edgeward.convert.measure.bench import Bench, measure_all
        from edgeward.convert.measure.parity import parity
        from edgeward.convert.measure.reproduce import float_values, reproduce
        from edgeward.convert.repair.repair import Allowed, Repaired, mend
        from edgeward.convert.report.report import artifact_reports, notes_on, refused
        from edgeward.convert.report.words import accepted
        from edgeward.convert.samples.calibration import DEFAULT_COUNT, choose_calibration
        from edgeward.convert.samples.check import check_splits, open_unlabelled
        from edgeward.convert.samples.golden import choose_golden
        from edgeward.convert.samples.leakage import find_leakage, without_leaked
        from edgeward.convert.samples.suspicion import suspicions
        from edgeward.convert.targets.target import adapt, choose_targets, switches_for
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name}, which converting needs,", "convert") from None
    ids, missing = plan(variants, formats, everything=everything)
    targets = choose_targets(target, formats)
    notes = [*damage, *(one.note for one in targets.values() if one.note)]
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
        memory=memory,
        progress=progress,
    )
    path = Path(out) / opened.name
    check_target(path)
    check_splits(opened)
    if distil is not None:
        open_unlabelled(distil, opened)  # an error there comes before minutes of work
    find_leakage(opened)  # an error before anything takes time
    progress(f"converting {opened.run} ({', '.join(ids)})")
    budget = opened.budget if max_drop is None else max_drop
    chosen = choose_calibration(opened, calibration_samples or DEFAULT_COUNT)
    switches = switches_for(targets)
    key_of = functools.cache(
        functools.partial(artifact_key, source=opened, switches=switches, calibration=chosen)
    )
    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        folder = Path(name)
        save_samples(folder / CALIBRATION, chosen)
        taken = take_over(shelves, ids, key_of, folder, tolerant=everything)
        if taken.made:
            progress(f"reused, not converted again: {', '.join(taken.made)}")
        conversion = convert_all(
            folder,
            opened.job(
                [name for name in ids if name not in taken.asked],
                tolerant=everything,
                memory=default_memory() if memory is None else memory,
                switches=switches,
            ),
            timeout=timeout,
            progress=progress,
        )
        conversion = taken.add_to(conversion)
        conversion.missing = {**missing, **conversion.missing}
        values = float_values(folder / FLOAT_OUTPUTS, opened)
        reproductions = reproduce(opened, values)
        for output, r in reproductions.items():
            said = "gives" if r.expected is None else "reproduces"
            progress(f"float model {said} {output}: {r.metric} {r.measured:.4f}")
        golden = choose_golden(opened, values)
        judges, judged_values, leaked = without_leaked(opened, values)
        bench = Bench(folder, judges, judged_values, golden, max_drop, targets, timeout)
        measured = measure_all(conversion, bench, tolerant=everything, progress=progress)
        if not measured:
            raise TargetError("Nothing could be made.", received=conversion.missing)
        mended = Repaired()
        if repair:
            mended = mend(
                [m for m in measured if not accepted(m, allow_inconclusive)],
                *(measured, bench, opened, Allowed(qat, fallback, distil)),
                used=len(chosen),
                switches=switches,
                timeout=timeout,
                memory=default_memory() if memory is None else memory,
                progress=progress,
            )
    measured = mended.apply(measured)
    doubts = suspicions(judges, chosen, notes)
    passed = [m for m in measured if accepted(m, allow_inconclusive)]
    complete = all(m in passed or m.artifact.id in mended.instead for m in measured)
    write = bool(passed) and (complete or keep_passing)
    notes += [*leaked, *mended.notes]
    rows = parity(passed, judges, progress, timeout=timeout) if with_parity else []
    record = record_of(
        "" if request is None else request.key,
        conversion,
        measured,
        mended.transient,
        # What was repaired is not what the ordinary way makes of the same.
        lambda name: "" if name in mended.settings else key_of(name),
    )

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
            artifacts=artifact_reports(measured, passed if release else [], doubts, mended),
            repair=mended.steps,
            parity=rows,
            not_made=conversion.missing,
            created_with={"edgeward": __version__, **conversion.versions},
            seconds=round(time.monotonic() - started, 2),
            labels={n: list(s.labels) for n, s in opened.outputs.items() if s.labels},
            notes=[*opened.notes, *notes, *notes_on(conversion, measured, doubts)],
            reused=[m.artifact.id for m in measured if m.artifact.id in taken.made],
        )

    report = report_of(None)
    if with_parity and passed:
        files = bundle_files(opened, passed, report, 1, golden, record)
        elsewhere, why_not = device_rows(files, judges.test, progress, timeout=timeout)
        rows += elsewhere
        notes += [why_not] if why_not else []
        if why_not.startswith("no parity"):  # a network that was down may be up again
            record = dataclasses.replace(record, request="")
    if write:
        progress(f"writing {path}")
        with locked(path.parent):  # so that one release number is given out once
            release = previous_release(path) + 1
            report = report_of(release)
            write_bundle(path, bundle_files(opened, passed, report, release, golden, record))
    refusal = refusal_of(path)
    if complete:
        remove_refusal(refusal)
        return report
    write_refusal(refusal, refusal_files(measured, report, record))
    raise refused(report, refusal / REPORTS[0], allow_inconclusive=allow_inconclusive)


def _silent(text: str) -> None:
    """Report no progress."""
