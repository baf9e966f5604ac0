"""Names and shapes of what goes into a model and comes out of it. Runs in the worker process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from edgeward.convert.model.loaded import LoadedModel
from edgeward.runtime.errors import InvalidModelError, TargetError, UsageError

__all__ = ["check_dtypes", "known_shapes", "match", "plain"]

# What a manifest can name as the dtype of a raw sample, and so of an input without steps.
INPUT_DTYPES = ("float32", "int32", "int64", "uint8", "int8")

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")


def plain(names: Sequence[str]) -> list[str]:
    """Return names of edges as the manifest allows them.

    >>> plain(["x:0", "x:0", "-y"])
    ['x_0', 'x_0__2', '_y']
    """
    found: list[str] = []
    for name in names:
        safe = _NOT_ALLOWED.sub("_", name)[:60]
        safe = f"_{safe[1:]}" if safe[:1] in ("-", "") else safe
        # Two outputs of one layer have one name.
        same = sum(1 for other in found if other == safe or other.startswith(f"{safe}__"))
        found.append(f"{safe}__{same + 1}" if safe in found else safe)
    return found


def match(have: Sequence[str], want: Sequence[str] | None, what: str) -> tuple[str, ...]:
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
        raise InvalidModelError(
            f"The model has other {what}.", received=list(have), expected=list(want)
        )
    return tuple(have)


def check_dtypes(loaded: LoadedModel) -> None:
    """Check that a device can feed the model and read its answers.

    Raises:
        InvalidModelError: Strings, float16, float64 or bfloat16 at an edge.
    """
    for spec in loaded.signature(None):
        dtype = spec.dtype.name
        if dtype not in INPUT_DTYPES:
            raise InvalidModelError(
                f"Input {spec.name!r} has a dtype that no device can give.",
                received=dtype,
                expected=INPUT_DTYPES,
                fix="leave text vectorisation out of the model and write it as the steps tokenize, "
                "lookup and pad in the preprocessing file"
                if dtype == "string"
                else "build the model in float32 and copy the weights with set_weights",
            )
    for spec in loaded.results():
        if spec.dtype.name != "float32":
            raise InvalidModelError(
                f"Output {spec.name!r} does not give float32.",
                received=spec.dtype.name,
                expected="float32",
                fix="build the model in float32 and copy the weights with set_weights; leave out "
                "argmax and rounding: reading an output is the task's part",
            )


def known_shapes(
    loaded: LoadedModel, shapes: Mapping[str, tuple[int, ...]]
) -> list[tuple[int | None, ...]]:
    """Return the dimensions of each input after the batch, every one of them known.

    Args:
        loaded: The model.
        shapes: Input name -> dimensions after the batch, for inputs with unknown ones.

    Raises:
        UsageError: Shapes of an input that the model does not have, or that do not fit.
        TargetError: A dimension is not known.
    """
    unknown = sorted(set(shapes) - set(loaded.inputs))
    if unknown:
        raise UsageError(
            f"The model has no input {unknown[0]!r} to give a shape.",
            received=f"--shape {unknown[0]}=...",
            expected=list(loaded.inputs),
        )
    return [
        _fixed(spec.name, list(spec.shape)[1:], shapes.get(spec.name))
        for spec in loaded.signature(None)
    ]


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
