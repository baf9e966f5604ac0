"""A user's own model with the user's own data. Nothing here imports TensorFlow.

What has to be known of the model comes from a child process (``worker.inspection``), so a model
that crashes TensorFlow is an error message.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeward.convert.source.files import (
    GivenSpecs,
    Hashes,
    bundle_name,
    read_labels,
    read_specs,
    refuse_twins,
)
from edgeward.convert.source.source import Source
from edgeward.convert.source.specs import (
    BUDGETS,
    check_inputs,
    check_outputs,
    check_range,
    give_labels,
    infer_inputs,
    infer_outputs,
)
from edgeward.convert.worker.inspection import Inspection, InspectionJob
from edgeward.convert.worker.process import run_worker
from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.runtime.golden import MIN_VECTORS
from edgeward.runtime.samples import Samples, load_samples
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.tasks import METRIC

__all__ = ["UserData", "check_expected", "open_user_model"]


@dataclass(frozen=True)
class UserData:
    """What the user gives along with a model; all but ``calibration`` may be left out.

    Attributes:
        calibration: ``.npz`` of raw training samples.
        test: ``.npz`` of raw samples and targets that the artifacts are judged on.
        validation: ``.npz`` of the same kind, for what is tuned.
        labels: Class names, one per line.
        preprocessing: Specs of inputs and outputs as JSON.
        shapes: Input name -> dimensions after the batch.
        expect: Metric, or ``NAME.METRIC``, -> value that the float model should have.
    """

    calibration: Path | None = None
    test: Path | None = None
    validation: Path | None = None
    labels: Path | None = None
    preprocessing: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    expect: Mapping[str, float] = field(default_factory=dict)


def open_user_model(
    model: Path,
    data: UserData,
    hashes: Hashes,
    *,
    timeout: float,
    progress: Callable[[str], None],
    memory: int = 0,
) -> Source:
    """Open a ``.keras`` or ``.h5`` file or a SavedModel folder with its data.

    Args:
        model: The file or folder.
        data: What comes with it.
        hashes: Of the files that were read already.
        timeout: Seconds that loading the model may take.
        progress: Called with one line per step.
        memory: Bytes that loading the model may take; 0 is no limit.

    Raises:
        UsageError: Options are missing or contradict each other.
        InvalidDataError: Samples, labels or preprocessing cannot be used.
        InvalidModelError: The model cannot be read.
        TargetError: Its shapes are not known; ConverterError: loading it crashed.
    """
    if data.calibration is None:
        raise UsageError(
            f"{model.name} comes without samples to calibrate with.",
            expected="raw samples of the training split in an .npz, under 'in/NAME' or 'x'",
            fix="--calibration FILE",
        )
    given = GivenSpecs() if data.preprocessing is None else read_specs(data.preprocessing)
    labels = None if data.labels is None else read_labels(data.labels)
    files = _load(data, hashes)
    inspection = _inspect(model, data, given, timeout, memory, progress)
    names = list(inspection.inputs), list(inspection.outputs)
    samples = {file: _named(file, loaded, *names) for file, loaded in files.items()}
    calibration = samples[data.calibration]
    targets = {} if data.test is None else samples[data.test].targets
    notes: list[str] = []
    inputs = given.inputs or infer_inputs(inspection.inputs, calibration, data.calibration, notes)
    if given.outputs is None:
        hints = targets or calibration.targets
        outputs = infer_outputs(inspection.outputs, hints, labels, notes)
    else:
        outputs = give_labels(given.outputs, labels)
    for file, loaded in samples.items():
        check_inputs(inputs, inspection.inputs, loaded, file, given.vocabularies)
        check_outputs(outputs, inspection.outputs, loaded, file)
    check_range(outputs, inspection.outputs, inferred=given.outputs is None, notes=notes)
    expected = check_expected(data.expect, outputs, list(targets))
    notes += _doubts(data, outputs, list(targets), expected)
    if inspection.loops:
        notes.append(
            f"{model.name} is a SavedModel with a loop, as recurrent layers leave it: its layers "
            "are gone, so TFLite may refuse it; a .keras file has them"
        )
    test_file = data.test or data.calibration
    budgets = {name: BUDGETS[spec.task] for name, spec in outputs.items()}
    return Source(
        name=bundle_name(model),
        run=model.resolve().name,
        model=model,
        model_sha256=hashes.of(model),
        data_sha256=hashes.of(test_file),
        inputs=inputs,
        outputs=outputs,
        calibration=calibration,
        calibration_name=data.calibration.name,
        test=samples[data.test] if data.test else Samples(calibration.inputs),
        test_file=test_file,
        expected=expected,
        budget=next(iter(budgets.values())),
        vocabularies=given.vocabularies,
        validation_file=data.validation,
        shapes=data.shapes,
        budgets=budgets,
        notes=tuple(notes),
        user=True,
    )


def _load(data: UserData, hashes: Hashes) -> dict[Path, Samples]:
    """Read every file of samples, before the seconds that the model takes."""
    files: dict[Path, Samples] = {}
    splits: dict[str, Path] = {}
    for option, file, least in (
        ("--calibration", data.calibration, 1 if data.test else MIN_VECTORS),
        ("--test", data.test, MIN_VECTORS),
        ("--validation", data.validation, 1),
    ):
        if file is None:
            continue
        samples = load_samples(file)
        if len(samples) < least:
            raise InvalidDataError(
                f"{file.name} is too small to measure anything.",
                received=f"{len(samples)} samples",
                expected=f"at least {least}, better thousands",
            )
        if option != "--calibration" and not samples.targets:
            raise InvalidDataError(
                f"{file.name} has no targets.",
                received=[f"in/{name}" for name in samples.inputs],
                expected="'out/NAME' or 'y' as well",
                fix=f"add them, or leave out {option}"
                + (": the artifacts are then unverified" if option == "--test" else ""),
            )
        splits[option] = file
        files[file] = samples
    refuse_twins(splits, hashes)
    return files


def _inspect(
    model: Path,
    data: UserData,
    given: GivenSpecs,
    timeout: float,
    memory: int,
    progress: Callable[[str], None],
) -> Inspection:
    progress(f"looking at {model.name}")

    def on_event(event: dict[str, Any]) -> None:
        if event.get("stage"):
            progress(str(event["stage"]))

    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        folder = Path(name)
        InspectionJob(
            model=str(model.resolve()),
            calibration=str((data.calibration or model).resolve()),
            shapes={name: list(shape) for name, shape in data.shapes.items()},
            inputs=_json(given.inputs),
            outputs=None if given.outputs is None else list(given.outputs),
            vocabularies={n: text.decode() for n, text in given.vocabularies.items()},
            memory=memory,
        ).write(folder)
        run_worker(folder, timeout=timeout, on_event=on_event, memory=memory, program="inspect")
        return Inspection.read(folder)


def _json(specs: Mapping[str, InputSpec] | None) -> dict[str, Any] | None:
    return None if specs is None else {name: spec.to_json() for name, spec in specs.items()}


def _named(file: Path, samples: Samples, inputs: list[str], outputs: list[str]) -> Samples:
    try:
        return samples.named(inputs, outputs)
    except InvalidDataError as error:
        fix = "name the arrays as the model's inputs and outputs are named"
        raise error.retold(f"{file.name}: {error.message}", fix) from None


def _doubts(
    data: UserData, outputs: Mapping[str, Any], judged: list[str], expected: Mapping[str, float]
) -> list[str]:
    """Return what the user should know about what is not proven."""
    if data.test is None:
        return [
            "there are no test data: the artifacts are unverified; their agreement with the float "
            "model is measured on the calibration samples"
        ]
    doubts = [
        f"output {name!r} has no targets: it is unverified, only its agreement with the float "
        "model is measured"
        for name in outputs
        if name not in judged
    ]
    unclaimed = [name for name in judged if not any(k.startswith(f"{name}.") for k in expected)]
    if unclaimed:
        doubts.append(
            f"nothing proves that preprocessing and labels of {', '.join(unclaimed)} are right: "
            "--expect METRIC=VALUE, as you measured it, compares"
        )
    return doubts


def check_expected(
    expected: Mapping[str, float], outputs: Mapping[str, OutputSpec], judged: Sequence[str]
) -> dict[str, float]:
    """Return ``NAME.METRIC`` -> value.

    Args:
        expected: What ``parse_expect`` gave.
        outputs: Output name -> spec.
        judged: Names of the outputs that have targets.

    Raises:
        UsageError: A metric that no output has, or that nothing can be compared with.
    """
    if expected and not judged:
        raise UsageError(
            "There is nothing to compare the expected metric with.",
            received=f"--expect {', '.join(expected)} and no targets",
            expected="--test FILE as well",
        )
    known = {f"{name}.{METRIC[spec.task]}": name for name, spec in outputs.items()}
    checked: dict[str, float] = {}
    for key, value in expected.items():
        (only,) = known if len(known) == 1 else ("",)
        full = only if key == only.partition(".")[2] else key
        if full not in known:
            raise UsageError(
                "The model has no such metric.",
                received=f"--expect {key}={value}",
                expected=[only.partition(".")[2]] if only else sorted(known),
            )
        if known[full] not in judged:
            raise UsageError(
                f"There is nothing to compare {key} with.",
                received="no targets",
                expected=f"--test with out/{known[full]}",
            )
        if full.endswith(".accuracy") and not 0 <= value <= 1:
            raise UsageError(
                "An accuracy is a fraction.", received=f"--expect {key}={value}", expected="0..1"
            )
        checked[full] = value
    return checked
