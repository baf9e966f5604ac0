"""Inputs of a user's own model: their specs, and samples that keep them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from convert.inspect_model import ModelInput
from convert.usable import check_column
from runtime.arrays import Column
from runtime.errors import InvalidDataError
from runtime.preprocessing import preprocess_batch
from runtime.samples import Samples
from runtime.specs import InputSpec
from runtime.steps import Affine

__all__ = ["check_inputs", "infer_inputs"]

_INTEGERS = ("uint8", "int8", "int32", "int64")


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
            raise InvalidDataError(
                f"{file.name}: in/{name} cannot be used: {error.message}",
                received=error.received,
                expected=error.expected,
                fix=error.fix or _reshape(spec, column),
            ) from None
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
