"""Names and shapes of what goes into a model and comes out of it. Runs in the worker process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from edgeward.convert.model.saved_model import ServedModel
from edgeward.runtime.errors import InvalidModelError, TargetError, UsageError

__all__ = ["check_dtypes", "input_names", "match", "output_names", "with_shapes"]

# What a manifest can name as the dtype of a raw sample, and so of an input without steps.
INPUT_DTYPES = ("float32", "int32", "int64", "uint8", "int8")

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")


def input_names(model: Any) -> list[str]:
    """Return a name for each input, as the manifest allows it."""
    return _plain([tensor.name for tensor in model.inputs])


def output_names(model: Any) -> list[str]:
    """Return a name for each output, as the manifest allows it: the names of the layers."""
    names = getattr(model, "output_names", None)
    if names is None:
        # A Sequential model has none; the names of its tensors count up within a process.
        names = [tensor._keras_history.operation.name for tensor in model.outputs]
    return _plain(list(names))


def _plain(names: list[str]) -> list[str]:
    plain: list[str] = []
    for name in names:
        safe = _NOT_ALLOWED.sub("_", name)[:60]
        safe = f"_{safe[1:]}" if safe[:1] in ("-", "") else safe
        # Two outputs of one layer have one name.
        same = sum(1 for other in plain if other == safe or other.startswith(f"{safe}__"))
        plain.append(f"{safe}__{same + 1}" if safe in plain else safe)
    return plain


def match(have: list[str], want: Sequence[str] | None, what: str) -> tuple[str, ...]:
    """Return the names that the edges get, in the model's order.

    Args:
        have: The model's names.
        want: The names wanted, or None for the model's own. A single one may have any name.
        what: ``inputs`` or ``outputs``.

    Raises:
        InvalidModelError: The model has others.
    """
    if want is None:
        return tuple(have)
    if len(have) == len(want) == 1:
        return (want[0],)
    if sorted(have) != sorted(want):
        raise InvalidModelError(f"The model has other {what}.", received=have, expected=list(want))
    return tuple(have)


def check_dtypes(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Check that a device can feed the model and read its answers.

    Raises:
        InvalidModelError: Strings, float16, float64 or bfloat16 at an edge.
    """
    for name, tensor in zip(inputs, model.inputs, strict=True):
        dtype = _dtype(tensor)
        if dtype not in INPUT_DTYPES:
            raise InvalidModelError(
                f"Input {name!r} has a dtype that no device can give.",
                received=dtype,
                expected=INPUT_DTYPES,
                fix="leave text vectorisation out of the model and write it as the steps tokenize, "
                "lookup and pad in the preprocessing file"
                if dtype == "string"
                else "build the model in float32 and copy the weights with set_weights",
            )
    for name, tensor in zip(outputs, model.outputs, strict=True):
        dtype = _dtype(tensor)
        if dtype != "float32":
            raise InvalidModelError(
                f"Output {name!r} does not give float32.",
                received=dtype,
                expected="float32",
                fix="build the model in float32 and copy the weights with set_weights; leave out "
                "argmax and rounding: reading an output is the task's part",
            )


def _dtype(tensor: Any) -> str:
    dtype = tensor.dtype
    return dtype if isinstance(dtype, str) else str(dtype.name)


def with_shapes(model: Any, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """Return the model with every dimension of its inputs known, but for a batch that is free.

    Args:
        model: A Keras model or a ``ServedModel``.
        names: Names of its inputs.
        shapes: Input name -> dimensions after the batch, for inputs with unknown ones.

    Raises:
        UsageError: Shapes of an input that the model does not have, or that do not fit.
        TargetError: A dimension is not known.
    """
    unknown = sorted(set(shapes) - set(names))
    if unknown:
        raise UsageError(
            f"The model has no input {unknown[0]!r} to give a shape.",
            received=f"--shape {unknown[0]}=...",
            expected=list(names),
        )
    fixed = [
        _fixed(name, list(tensor.shape)[1:], shapes.get(name))
        for name, tensor in zip(names, model.inputs, strict=True)
    ]
    if isinstance(model, ServedModel):
        model.fix(fixed)
        _check_batch(model)
        return model
    have = [tuple(tensor.shape) for tensor in model.inputs]
    if have == [(None, *shape) for shape in fixed]:
        return model
    # A batch that the model fixes goes as well: TFLite needs 1 and ONNX any.
    tensors = [
        keras.Input(shape, dtype=tensor.dtype, name=tensor.name)
        for shape, tensor in zip(fixed, model.inputs, strict=True)
    ]
    try:
        # A Sequential model that was loaded has inputs but no input.
        sequential = isinstance(model, keras.Sequential)
        structure = tensors[0] if sequential else keras.tree.pack_sequence_as(model.input, tensors)
        rebuilt = keras.models.clone_model(model, input_tensors=structure)
        rebuilt.set_weights(model.get_weights())
    except Exception as error:  # a layer that cannot have this shape says so in its own way
        raise TargetError(
            "The model cannot be built with these shapes.",
            received=f"{dict(zip(names, fixed, strict=True))}: {error}"[:500],
            fix="another --shape, or model.export() with an input_signature of known shapes",
        ) from None
    return rebuilt


def _fixed(
    name: str, shape: list[int | None], wanted: tuple[int, ...] | None
) -> tuple[int | None, ...]:
    if wanted is None:
        if None in shape:
            example = "x".join("N" if d is None else str(d) for d in shape)
            raise TargetError(
                f"Input {name!r} has a dimension that is not known.",
                received=["any" if d is None else d for d in (None, *shape)],
                expected="known dimensions after the batch",
                fix=f"--shape {name}={example} with a number for each N, or a keras.Input with a "
                "full shape",
            )
        return tuple(shape)
    fits = len(wanted) == len(shape) and all(
        d is None or d == w for d, w in zip(shape, wanted, strict=True)
    )
    if not fits:
        raise UsageError(
            f"The shape given for input {name!r} does not fit the model.",
            received="x".join(map(str, wanted)),
            expected="x".join("any" if d is None else str(d) for d in shape)
            + ", without the batch",
        )
    return wanted


def _check_batch(model: ServedModel) -> None:
    for spec in model.inputs:
        if spec.shape[0] is not None:
            raise TargetError(
                f"The SavedModel takes batches of {spec.shape[0]} only.",
                received=f"{spec.name} {list(spec.shape)}",
                expected="a batch of any size: ONNX needs it, and so does measuring",
                fix="export it again with None as first dimension: model.export(folder)",
            )
