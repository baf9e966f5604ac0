"""The order of a conversion: load, convert, reproduce, measure, judge, write."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert.calibration import DEFAULT_COUNT, choose_calibration, suspicions
from convert.child import run_worker
from convert.goldens import choose_golden
from convert.job import CALIBRATION, FLOAT_OUTPUTS, Job, artifact_file
from convert.lint import describe
from convert.measure import Measured, describe_artifact, measure
from convert.refusal import accepted, reason, refused
from convert.report import ArtifactReport, ConversionReport
from convert.reproduce import float_values, reproduce
from convert.source import Source, open_source
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
from runtime.errors import UsageError
from runtime.files import write_atomic
from runtime.golden import Golden
from runtime.manifest import Manifest
from runtime.manifest import Source as ManifestSource
from runtime.samples import save_samples

__all__ = ["DEFAULT_TIMEOUT", "convert"]

DEFAULT_TIMEOUT = 1800.0
# What a device should run when nothing else is asked for.
PREFERRED = ("tflite-int8", "onnx-int8", "onnx-dynamic", "tflite-fp32", "onnx-fp32")


def convert(
    source: Path | str | None = None,
    *,
    variants: Sequence[str] = (INT8.id,),
    formats: Sequence[str] = FORMATS,
    out: Path | str = "bundles",
    runs: Path | str = "runs",
    max_drop: float | None = None,
    calibration: Path | None = None,
    calibration_samples: int = DEFAULT_COUNT,
    allow_inconclusive: bool = False,
    keep_passing: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    progress: Callable[[str], None] | None = None,
) -> ConversionReport:
    """Convert a run, measure each artifact against the float model and write a bundle.

    Args:
        source: A run folder; None takes the latest below ``runs``.
        variants: Variant ids, see ``convert.variants``; float32 comes along always.
        formats: ``tflite``, ``onnx``.
        out: Folder of bundles; the bundle is ``out/<recipe>``.
        runs: Where to look for the latest run.
        max_drop: Largest upper bound of the drop allowed: a fraction of accuracy, an increase of
            the error, or dB below 100; None takes the recipe's.
        calibration: ``.npz`` of raw samples to calibrate with instead of the run's.
        calibration_samples: How many of them.
        allow_inconclusive: Bundle artifacts that too few samples could judge, marked.
        keep_passing: Bundle the artifacts that pass although others were refused.
        timeout: Seconds that the converter may take.
        progress: Called with one line per step.

    Returns:
        The report of the bundle written.

    Raises:
        RefusedError: An artifact drifted too far or could not be judged; ``.report`` tells. The
            previous bundle stays as it was, except under ``keep_passing``.
        InvalidInputError: Run, model or data are invalid, or the float model does not reproduce
            the run's metric.
        TargetError: A format cannot hold the model, or the converter crashed or ran out of time.

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
    ids = plan(variants, formats)
    opened = open_source(source, runs=runs, calibration=calibration)
    target = Path(out) / opened.name
    check_target(target)
    progress(f"converting {opened.run} ({', '.join(ids)})")
    budget = opened.budget if max_drop is None else max_drop
    chosen = choose_calibration(opened, calibration_samples)
    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        folder = Path(name)
        save_samples(folder / CALIBRATION, chosen)
        conversion = _convert_all(folder, opened, ids, timeout, progress)
        values = float_values(folder / FLOAT_OUTPUTS, opened)
        reproductions = reproduce(opened, values)
        for output, r in reproductions.items():
            progress(f"float model reproduces {output}: {r.metric} {r.measured:.4f}")
        golden = choose_golden(opened, values)
        measured: list[Measured] = []
        for artifact_id, stateful in conversion.made.items():
            progress(f"measuring {artifact_id} on {len(opened.test):,} test samples")
            file = artifact_file(artifact_id)
            data = (folder / file).read_bytes()
            twin = next((m for m in measured if m.artifact.id == _twin(artifact_id)), None)
            description = describe(artifact_id, data, twin.artifact.size if twin else None)
            artifact = describe_artifact(artifact_id, file, data, description, stateful=stateful)
            measured.append(
                measure(artifact, data, description.nodes, opened, values, golden, budget)
            )
    doubts = suspicions(opened, chosen)
    notes = conversion.notes + [
        f"{m.artifact.id} does not run on {name}: {why.splitlines()[0]}"
        for m in measured
        for name, why in m.unusable.items()
    ]
    notes += [f"suspicious: {doubt}" for doubt in doubts]
    passed = [m for m in measured if accepted(m, allow_inconclusive)]
    complete = len(passed) == len(measured)
    write = bool(passed) and (complete or keep_passing)
    sizes = {m.artifact.id: m.artifact.size for m in measured}

    def report_of(release: int | None) -> ConversionReport:
        return ConversionReport(
            name=opened.name,
            run=opened.run,
            bundle=None if release is None else target,
            release=release,
            budget=budget,
            reproductions=reproductions,
            calibration={
                "samples": len(chosen),
                "source": opened.calibration_name,
                "suspicions": doubts,
            },
            artifacts=[
                ArtifactReport.of(
                    m,
                    sizes[_twin(m.artifact.id)],
                    bundled=release is not None and m in passed,
                    reason=reason(m, doubts),
                )
                for m in measured
            ],
            created_with={"edgeward": __version__, **conversion.versions},
            seconds=round(time.monotonic() - started, 2),
            labels={n: list(s.labels) for n, s in opened.outputs.items() if s.labels},
            notes=notes,
        )

    report = report_of(None)
    if write:
        progress(f"writing {target}")
        with locked(target.parent):
            release = previous_release(target) + 1
            report = report_of(release)
            write_bundle(target, _bundle_files(opened, passed, report, release, golden))
    refusal = target.with_name(f"{target.name}.refused")
    if complete:
        remove_refusal(refusal)
        return report
    for file, data in ((REPORTS[0], report.to_html()), (REPORTS[1], report.to_bytes())):
        write_atomic(refusal / file, data)
    raise refused(report, refusal / REPORTS[0])


def _silent(text: str) -> None:
    """Report no progress."""


def _twin(artifact_id: str) -> str:
    return f"{artifact_id.partition('-')[0]}-fp32"


@dataclass
class _Conversion:
    """What the worker reported: ids made (and whether stateful), notes, package versions."""

    made: dict[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


def _convert_all(
    folder: Path, source: Source, ids: list[str], timeout: float, progress: Callable[[str], None]
) -> _Conversion:
    Job(
        model=str(source.model.resolve()),
        test=str(source.test_file.resolve()),
        inputs={name: spec.to_json() for name, spec in source.inputs.items()},
        outputs=list(source.outputs),
        vocabularies={name: data.decode() for name, data in source.vocabularies.items()},
        artifacts=ids,
    ).write(folder)
    result = _Conversion()

    def on_event(event: dict[str, Any]) -> None:
        if "made" in event:
            result.made[event["made"]] = event["stateful"]
            progress(f"made {event['made']}: {event['size']:,} bytes")
        elif "note" in event:
            result.notes.append(event["note"])
        elif event.get("stage") not in (None, "convert"):
            progress(str(event["stage"]))

    result.versions = run_worker(folder, timeout=timeout, on_event=on_event)
    return result


def _bundle_files(
    source: Source, passed: list[Measured], report: ConversionReport, release: int, golden: Any
) -> dict[str, bytes]:
    ids = [m.artifact.id for m in passed]
    manifest = Manifest(
        name=source.name,
        release=release,
        created_with=report.created_with,
        source=ManifestSource(source.run, source.model_sha256, source.data_sha256),
        default=next((i for i in PREFERRED if i in ids), ids[0]),
        inputs=source.inputs,
        outputs=source.outputs,
        artifacts=tuple(m.artifact for m in passed),
    )
    vectors = [
        {name: column[i] for name, column in golden.inputs.items()} for i in range(len(golden))
    ]
    files = {
        "manifest.json": manifest.to_bytes(),
        "golden.json": Golden(vectors, [e for m in passed for e in m.expected]).to_bytes(),
        "report.json": report.to_bytes(),
        "report.html": report.to_html(),
        **{m.artifact.file: m.data for m in passed},
        **source.vocabularies,
    }
    labels = [spec.labels for spec in source.outputs.values() if spec.labels]
    if len(labels) == 1:
        files["labels.txt"] = "".join(f"{label}\n" for label in labels[0]).encode()
    return files
