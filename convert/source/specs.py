"""Inputs and outputs of a user's own model: specs given or inferred, and data that keep them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeward.convert.worker.inspection import ModelInput, ModelOutput
from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.runtime.preprocessing import check_raw_column, preprocess_batch
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine
from edgeward.runtime.tasks import check_targets

__all__ = [
    "BUDGETS",
    "check_column",
    "check_inputs",
    "check_outputs",
    "check_range",
    "give_labels",
    "infer_inputs",
    "infer_outputs",
]

# Drift allowed where the user says nothing (docs/drift.md).
BUDGETS = {"classification": 0.005, "binary": 0.005, "regression": 0.05, "generation": 70.0}

_SAY_TASK = 'say the task in the preprocessing file: {"outputs": {NAME: {"task": ...}}}'

_INTEGERS = ("uint8", "int8", "int32", "int64")


def _width(output: ModelOutput) -> int:
    return math.prod(d or 0 for d in output.shape)


def infer_outputs(
    outputs: Mapping[str, ModelOutput],
    targets: Mapping[str, Array],
    labels: tuple[str, ...] | None,
    notes: list[str],
) -> dict[str, OutputSpec]:
    """Return specs for outputs that nothing is said about.

    Args:
        outputs: What the model gives.
        targets: Output name -> targets of the test (else the calibration) samples, if any.
        labels: Class names, for the one output that they fit.
        notes: What was inferred is added here.

    Raises:
        InvalidDataError: Targets that fit no task, or two.
        UsageError: Labels that fit no output, or several.
    """
    named = None
    if labels is not None:
        fits = [n for n, o in outputs.items() if _can_have(labels, o, targets.get(n))]
        named = next(iter(outputs)) if len(outputs) == 1 else _only(fits)
    specs: dict[str, OutputSpec] = {}
    for name, output in outputs.items():
        own = labels if name == named else None
        task, why = _task(name, output, targets.get(name), own)
        specs[name] = OutputSpec(task, own, 0.5 if task == "binary" else None)
        threshold = ", positive from 0.5" if task == "binary" else ""
        notes.append(f"output {name!r}: {task}{threshold}, inferred from {why}")
    return specs


def give_labels(
    specs: Mapping[str, OutputSpec], labels: tuple[str, ...] | None
) -> dict[str, OutputSpec]:
    """Return given specs with the class names added to the one that has none yet.

    Raises:
        UsageError: There is no such output, or several.
    """
    if labels is None:
        return dict(specs)
    name = _only(
        [
            n
            for n, spec in specs.items()
            if spec.task in ("classification", "binary") and spec.labels is None
        ]
    )
    if specs[name].task == "binary" and len(labels) != 2:
        raise InvalidDataError(
            f"Output {name!r} has two classes.",
            received=f"{len(labels)} labels",
            expected="two, the negative class first",
        )
    return {**specs, name: replace(specs[name], labels=labels)}


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise UsageError(
            "It is not clear which output the labels name.",
            received=f"they fit {names}" if names else "they fit none",
            expected="one output with as many values as there are labels",
            fix='write them in the preprocessing file: "outputs": {NAME: {"labels": [...]}}',
        )
    return names[0]


def _can_have(labels: tuple[str, ...], output: ModelOutput, targets: Array | None) -> bool:
    classes = targets is None or (targets.dtype.kind in "iu" and targets[0].size == 1)
    width = _width(output)
    return classes and (width == len(labels) if width > 1 else len(labels) == 2)


def _task(
    name: str, output: ModelOutput, targets: Array | None, labels: tuple[str, ...] | None
) -> tuple[str, str]:
    """Return the task of an output and why."""
    width = _width(output)
    if targets is None:
        if labels is None:
            return "regression", "nothing: no targets and no labels"
        return ("classification" if width > 1 else "binary"), "the labels"
    each = targets[0].size
    if targets.dtype.kind in "iu":
        if each == 1 and width > 1 and len(output.shape) == 1:
            return "classification", f"integer targets and {width} values"
        if each == width == 1:
            if set(np.unique(targets)) <= {0, 1}:
                return "binary", "targets 0 and 1 and one value"
            if labels is not None:
                raise _fault(name, targets, "0 and 1, for two labels and one value")
            return "regression", "integer targets beyond 0 and 1, and one value"
    elif targets.dtype.kind != "f":
        raise _fault(name, targets, "integers or floats", 'save them with .astype("int64")')
    if each != width:
        raise _fault(
            name,
            targets,
            f"class indices (integers [N]) for one of {width} classes, or numbers "
            f"{['N', *output.shape]}",
        )
    if _classes_in_disguise(targets.reshape(len(targets), -1)):
        raise _fault(
            name,
            targets,
            "integers [N] for classes, anything but zeros and ones for numbers",
            "save class indices: y.argmax(axis=-1) of one-hot rows, y.astype('int64') of 0 and 1; "
            f"or {_SAY_TASK}",
        )
    if labels is not None:
        raise _fault(name, targets, "class indices (integers [N]), because there are labels")
    return "regression", f"{targets.dtype} targets"


def _classes_in_disguise(rows: Array) -> bool:
    """Tell whether targets that pass for numbers are zeros and ones, or one-hot rows."""
    binary = bool(np.isin(rows, (0, 1)).all())
    return binary and (rows.shape[1] == 1 or bool((rows.sum(axis=1) == 1).all()))


def _fault(
    name: str, targets: Array, expected: str, fix: str | None = _SAY_TASK
) -> InvalidDataError:
    return InvalidDataError(
        f"The targets out/{name} do not say what the output is.",
        received=f"{targets.dtype} {list(targets.shape)}",
        expected=expected,
        fix=fix,
    )


def check_outputs(
    specs: Mapping[str, OutputSpec],
    outputs: Mapping[str, ModelOutput],
    samples: Samples,
    file: Path,
) -> None:
    """Check specs against the model, and targets against the specs.

    Raises:
        InvalidDataError: Labels that are not as many as values, a task that the output's shape
            does not allow, or targets that do not fit; names file, key and sample.
    """
    for name, spec in specs.items():
        width, shape = _width(outputs[name]), list(outputs[name].shape)
        if spec.task == "classification" and spec.labels and len(spec.labels) != width:
            raise InvalidDataError(
                f"Output {name!r} does not have as many values as there are labels.",
                received=f"{len(spec.labels)} labels",
                expected=f"{width}, one per value",
            )
        if spec.labels and spec.task == "binary" and len(spec.labels) != 2:
            raise InvalidDataError(f"Output {name!r} has two classes.", received=spec.labels)
        valid = {"classification": width > 1 and len(shape) == 1, "binary": width == 1}
        if not valid.get(spec.task, True):
            raise InvalidDataError(
                f"Output {name!r} cannot be of task {spec.task!r}.",
                received=f"shape {shape}",
                expected="[classes], at least two" if spec.task == "classification" else "[1]",
            )
        if name not in samples.targets:
            continue
        targets = samples.targets[name]
        try:
            check_targets(spec, targets, width)
            if spec.task in ("regression", "generation") and targets[0].size != width:
                raise InvalidDataError(
                    "The targets have the wrong shape.",
                    received=list(targets.shape),
                    expected=["N", *shape],
                )
        except InvalidDataError as error:
            message = f"{file.name}: out/{name} cannot be used: {error.message}"
            raise error.retold(message, _SAY_TASK if error.fix is None else error.fix) from None


def check_range(
    specs: Mapping[str, OutputSpec],
    outputs: Mapping[str, ModelOutput],
    *,
    inferred: bool,
    notes: list[str],
) -> None:
    """Check that the threshold of an inferred binary output is one for its values.

    Args:
        specs: Output name -> spec.
        outputs: What the model gives.
        inferred: Whether the specs were inferred; given ones are taken at their word.
        notes: Classes without probabilities are told here.

    Raises:
        UsageError: An inferred binary output gives logits.
    """
    for name, spec in specs.items():
        output = outputs[name]
        beyond = (
            output.low is not None
            and output.high is not None
            and (output.low < -1e-3 or output.high > 1.001)
        )
        if spec.postprocessing or spec.task not in ("classification", "binary"):
            continue
        seen = f"values {output.low:.3g}..{output.high:.3g}" if beyond else "no activation"
        if spec.task == "binary" and inferred and (beyond or output.activation == "linear"):
            raise UsageError(
                f"Output {name!r} gives no probability, so 0.5 is no threshold for it.",
                received=seen,
                expected="values in 0..1",
                fix='for logits, in the preprocessing file: {"outputs": {"' + name + '": '
                '{"task": "binary", "labels": null, "threshold": 0.5, '
                '"postprocessing": [{"step": "sigmoid"}]}}}',
            )
        if spec.task == "classification" and beyond:
            notes.append(
                f"output {name!r} gives {seen}, no probabilities: classes are right, scores "
                'become probabilities with "postprocessing": [{"step": "softmax"}]'
            )


def infer_inputs(
    inputs: Mapping[str, ModelInput], samples: Samples, file: Path, notes: list[str]
) -> dict[str, InputSpec]:
    """Return specs for inputs that nothing is said about: raw samples are what the model takes.

    Integers for a float input become floats of the same value; no scale is guessed.

    Args:
        inputs: What the model takes.
        samples: The calibration samples.
        file: Where they come from.
        notes: What was inferred is added here.

    Raises:
        InvalidDataError: Texts, or a dtype that would have to be guessed about.
    """
    specs: dict[str, InputSpec] = {}
    for name, wanted in inputs.items():
        column = samples.inputs[name]
        dtype = "text" if isinstance(column, list) else column.dtype.name
        if dtype == "text":
            raise InvalidDataError(
                f"{file.name}: in/{name} holds texts, and nothing says how they become numbers.",
                fix="--preprocessing FILE with the steps tokenize, lookup and pad",
            )
        cast = wanted.dtype == "float32" and dtype in _INTEGERS
        if dtype != wanted.dtype and not cast:
            raise InvalidDataError(
                f"{file.name}: in/{name} has the wrong dtype.",
                received=dtype,
                expected=wanted.dtype,
                fix=f'save it with .astype("{wanted.dtype}")',
            )
        # A device can show and take pictures as such.
        picture = dtype == "uint8" and len(wanted.shape) == 3 and wanted.shape[2] in (1, 3)
        kind = "image" if picture else "tensor"
        specs[name] = InputSpec(kind, dtype, wanted.shape, (Affine(1.0, 0.0),) if cast else ())
        note = f"input {name!r}: {kind} {dtype} {list(wanted.shape)} as it is, inferred"
        if cast:
            note += (
                ". Its integers go into the float model as they are, without any scale; if it was "
                "trained on scaled values, say so with --preprocessing"
            )
        notes.append(note)
    return specs


def check_inputs(
    specs: Mapping[str, InputSpec],
    inputs: Mapping[str, ModelInput],
    samples: Samples,
    file: Path,
    vocabularies: Mapping[str, bytes],
) -> None:
    """Check that preprocessing makes of every sample what the model takes.

    Raises:
        InvalidDataError: It does not; names file, key and sample.
    """
    for name, spec in specs.items():
        column, wanted = samples.inputs[name], inputs[name]
        if spec.kind != "text" and isinstance(column, list):
            raise InvalidDataError(
                f"{file.name}: in/{name} holds texts.", expected=f"{spec.dtype} arrays"
            )
        if spec.kind == "text" and not isinstance(column, list):
            raise InvalidDataError(
                f"{file.name}: in/{name} holds no texts.",
                received=f"{column.dtype} {list(column.shape)}",
                expected=f"UTF-8 bytes (uint8) in in/{name} and int64 in in/{name}.offsets",
            )
        try:
            check_column(spec, column, vocabularies)
            given = preprocess_batch(spec, column, vocabularies)
        except InvalidDataError as error:
            message = f"{file.name}: in/{name} cannot be used: {error.message}"
            raise error.retold(message, error.fix or _reshape(spec, column)) from None
        if given.dtype.name != wanted.dtype or given.shape[1:] != wanted.shape:
            raise InvalidDataError(
                f"{file.name}: in/{name} does not become what the model takes.",
                received=f"{given.dtype} {list(given.shape[1:])} after preprocessing",
                expected=f"{wanted.dtype} {list(wanted.shape)}",
                fix="the preprocessing steps must end in the model's shape and dtype",
            )


def _reshape(spec: InputSpec, column: Column) -> str | None:
    if isinstance(column, list) or None in spec.shape:
        return None
    shape = [d for d in spec.shape if d is not None]
    if column.shape[1:] != tuple(shape) and math.prod(column.shape[1:]) == math.prod(shape):
        return f"save it with .reshape({', '.join(map(str, (-1, *shape)))})"
    if column.dtype.name != spec.dtype:
        return f'save it with .astype("{spec.dtype}")'
    return None


def check_column(spec: InputSpec, column: Column, vocabularies: Mapping[str, bytes]) -> None:
    """Check one input of N raw samples against its spec.

    Args:
        spec: The input.
        column: The samples of it.
        vocabularies: Content of the vocabulary files that the steps name.

    Raises:
        InvalidDataError: A sample does not fit the spec; names the first one, and how many hold
            values that are not finite.
    """
    check_raw_column(spec, column, count=True)
    # What the steps make of one sample shows what they make of all.
    preprocess_batch(spec, column[:1], vocabularies)
