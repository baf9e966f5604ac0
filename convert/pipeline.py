"""The order of a conversion: load, convert, reproduce, measure, judge, write."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convert.calibration import DEFAULT_COUNT, choose_calibration, suspicions
from convert.child import run_worker
from convert.goldens import choose_golden
from convert.job import CALIBRATION, FLOAT_OUTPUTS, Job, artifact_file
from convert.lint import describe
from convert.measure import Measured, measure
from convert.report import ArtifactReport, ConversionReport, Reproduction
from convert.source import Source, open_source
from convert.variants import FORMATS, INT8, plan
from convert.write import previous_release, write_bundle
from runtime import __version__
from runtime.arrays import Floats
from runtime.errors import InvalidModelError, RefusedError, ReproductionError, UsageError
from runtime.files import write_atomic
from runtime.golden import Golden
from runtime.manifest import Manifest
from runtime.manifest import Source as ManifestSource
from runtime.preprocessing import postprocess
from runtime.samples import save_samples
from runtime.tasks import METRIC, evaluate

__all__ = ["DEFAULT_TIMEOUT", "convert"]

DEFAULT_TIMEOUT = 1800.0
# What a device should run when nothing else is asked for.
PREFERRED = ("tflite-int8", "onnx-int8", "tflite-fp32", "onnx-fp32")


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
        max_drop: Largest upper bound of the drop allowed, a fraction; None takes the recipe's.
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
    if max_drop is not None and not 0 < max_drop < 1:
        raise UsageError("The budget makes no sense.", received=max_drop, expected="0 < X < 1")
    if calibration_samples < 1:
        raise UsageError("No calibration samples.", received=calibration_samples, expected=">= 1")
    ids = plan(variants, formats)
    opened = open_source(source, runs=runs, calibration=calibration)
    progress(f"converting {opened.run} ({', '.join(ids)})")
    budget = opened.budget if max_drop is None else max_drop
    chosen = choose_calibration(opened, calibration_samples)
    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        folder = Path(name)
        save_samples(folder / CALIBRATION, chosen)
        versions = _convert_all(folder, opened, ids, timeout, progress)
        values = _float_values(folder, opened)
        reproductions = _reproduce(opened, values)
        for output, r in reproductions.items():
            progress(f"float model reproduces {output}: {r.metric} {r.measured:.4f}")
        golden = choose_golden(opened, values)
        measured: list[Measured] = []
        for artifact_id in ids:
            progress(f"measuring {artifact_id} on {len(opened.test):,} test samples")
            file = artifact_file(artifact_id)
            data = (folder / file).read_bytes()
            twin = next((m for m in measured if m.artifact.id == _twin(artifact_id)), None)
            description = describe(artifact_id, data, twin.artifact.size if twin else None)
            measured.append(
                measure(artifact_id, file, data, description, opened, values, golden, budget)
            )
    doubts = suspicions(opened, chosen)
    accepted = [m for m in measured if _accepted(m, allow_inconclusive)]
    complete = len(accepted) == len(measured)
    target = Path(out) / opened.name
    write = bool(accepted) and (complete or keep_passing)
    release = previous_release(target) + 1 if write else None
    sizes = {m.artifact.id: m.artifact.size for m in measured}
    report = ConversionReport(
        name=opened.name,
        run=opened.run,
        bundle=target if write else None,
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
                bundled=write and m in accepted,
                reason=_reason(m, doubts),
            )
            for m in measured
        ],
        created_with={"edgeward": __version__, **versions},
        seconds=round(time.monotonic() - started, 2),
        labels={n: list(s.labels) for n, s in opened.outputs.items() if s.labels},
    )
    refusal = target.with_name(f"{target.name}.refused")
    if release is not None:
        progress(f"writing {target}")
        files = _bundle_files(opened, accepted, report, release, golden)
        write_bundle(target, files)
    if complete:
        shutil.rmtree(refusal, ignore_errors=True)
        return report
    for file, data in (("report.html", report.to_html()), ("report.json", report.to_bytes())):
        write_atomic(refusal / file, data)
    raise _refused(report, refusal / "report.html")


def _silent(text: str) -> None:
    """Report no progress."""


def _twin(artifact_id: str) -> str:
    return f"{artifact_id.partition('-')[0]}-fp32"


def _convert_all(
    folder: Path, source: Source, ids: list[str], timeout: float, progress: Callable[[str], None]
) -> dict[str, str]:
    job = Job(
        model=str(source.model.resolve()),
        test=str(source.test_file.resolve()),
        inputs={name: spec.to_json() for name, spec in source.inputs.items()},
        outputs=list(source.outputs),
        vocabularies={name: data.decode() for name, data in source.vocabularies.items()},
        artifacts=ids,
    )
    job.write(folder)

    def on_event(event: dict[str, Any]) -> None:
        if "made" in event:
            progress(f"made {event['made']}: {event['size']:,} bytes")
        elif event.get("stage") not in (None, "convert", "freeze"):
            progress(str(event["stage"]))

    return run_worker(folder, timeout=timeout, on_event=on_event)


def _float_values(folder: Path, source: Source) -> dict[str, Floats]:
    with np.load(folder / FLOAT_OUTPUTS, allow_pickle=False) as outputs:
        values = {
            name: postprocess(spec.postprocessing, outputs[name])
            for name, spec in source.outputs.items()
        }
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise InvalidModelError(f"The float model's output {name!r} is not finite.")
    return values


def _reproduce(source: Source, values: Mapping[str, Floats]) -> dict[str, Reproduction]:
    """Check that the float model gives the run's metric, within one sample."""
    found: dict[str, Reproduction] = {}
    for name, spec in source.outputs.items():
        metric = METRIC[spec.task]
        if metric not in source.expected or name not in source.test.targets:
            raise ReproductionError(
                f"There is nothing to reproduce for output {name!r}.",
                received=f"{sorted(source.expected)}, targets {sorted(source.test.targets)}",
                expected=f"{metric} of the test split in run.json, and out/{name} in test.npz",
            )
        measured = evaluate(spec, values[name], source.test.targets[name])[metric]
        expected = source.expected[metric]
        one_sample = 1 / len(source.test) if metric == "accuracy" else 1e-4 * abs(expected)
        # Half a sample more, against rounding in the two divisions.
        if not abs(measured - expected) <= 1.5 * one_sample:
            raise ReproductionError(
                f"The float model, fed through the bundle's preprocessing, does not give the "
                f"{metric} that training noted for output {name!r}.",
                received=f"{measured:.4f} on {len(source.test)} test samples",
                expected=f"{expected:.4f}, within one sample",
                fix="preprocessing, labels or model of the run were changed after training: "
                "check inputs and preprocessing in run.json and the targets in test.npz, "
                "or train again",
            )
        found[name] = Reproduction(metric, expected, measured, len(source.test))
    return found


def _accepted(measured: Measured, allow_inconclusive: bool) -> bool:
    return measured.verdict == "pass" or (measured.verdict == "inconclusive" and allow_inconclusive)


def _reason(measured: Measured, doubts: list[str]) -> str:
    parts = []
    for drift in measured.worst:
        if drift.verdict == "refused":
            parts.append(
                f"{drift.metric} of {drift.output} is {drift.value:.4f}, the float model's "
                f"{drift.reference:.4f}: a drop of {100 * drift.drop:.2f} points, upper bound "
                f"{100 * drift.upper_bound:.2f}, budget {100 * drift.budget:.2f}"
            )
        elif drift.verdict == "inconclusive":
            needed = f"about {drift.needed:,} are needed" if drift.needed else "more are needed"
            parts.append(
                f"{drift.samples:,} samples are too few to tell: the drop in {drift.metric} of "
                f"{drift.output} is {100 * drift.drop:.2f} points but may be up to "
                f"{100 * drift.upper_bound:.2f}, budget {100 * drift.budget:.2f}; {needed}"
            )
    if parts and measured.artifact.variant != "fp32":
        parts += doubts
    return "; ".join(parts)


def _bundle_files(
    source: Source, accepted: list[Measured], report: ConversionReport, release: int, golden: Any
) -> dict[str, bytes]:
    ids = [m.artifact.id for m in accepted]
    manifest = Manifest(
        name=source.name,
        release=release,
        created_with=report.created_with,
        source=ManifestSource(source.run, source.model_sha256, source.data_sha256),
        default=next((i for i in PREFERRED if i in ids), ids[0]),
        inputs=source.inputs,
        outputs=source.outputs,
        artifacts=tuple(m.artifact for m in accepted),
    )
    vectors = [
        {name: column[i] for name, column in golden.inputs.items()} for i in range(len(golden))
    ]
    files = {
        "manifest.json": manifest.to_bytes(),
        "golden.json": Golden(vectors, [e for m in accepted for e in m.expected]).to_bytes(),
        "report.json": report.to_bytes(),
        "report.html": report.to_html(),
        **{m.artifact.file: m.data for m in accepted},
        **source.vocabularies,
    }
    if source.labels is not None:
        files["labels.txt"] = source.labels
    return files


def _refused(report: ConversionReport, where: Path) -> RefusedError:
    failed = [a for a in report.artifacts if a.verdict != "pass" and not a.bundled]
    words = {a.verdict for a in failed}
    fix = (
        "look at the report; calibrate on real training samples; raise --max-drop if you can "
        "afford the loss"
        if "refused" in words
        else "give more test samples, or --allow-inconclusive to bundle it marked"
    )
    error = RefusedError(
        f"{', '.join(a.id for a in failed)}: {' and '.join(sorted(words))}.",
        received="\n    ".join(f"{a.id}: {a.reason}" for a in failed),
        expected=f"an upper bound of the drop within {100 * report.budget:.2f} points",
        fix=f"{fix}. Report: {where}"
        + ("" if report.bundle else "; the previous bundle, if any, was not touched"),
    )
    error.report = report
    return error
