"""Raw sample to model tensor: the only copy of this arithmetic, used by training as well.

FORMAT.md, section 4, is the specification; Java and JavaScript give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from edgeward.runtime.arrays import Array, Column, Floats
from edgeward.runtime.errors import InvalidBundleError, InvalidDataError
from edgeward.runtime.specs import InputSpec
from edgeward.runtime.steps import (
    Affine,
    Grayscale,
    Invert,
    Lookup,
    Pad,
    ResizeBilinear,
    Sigmoid,
    Softmax,
    Step,
    Tokenize,
)

__all__ = [
    "check_raw",
    "check_raw_column",
    "postprocess",
    "preprocess",
    "preprocess_batch",
    "tokenize",
]

Vocabularies = Mapping[str, bytes]

_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_LOWER = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz")


def check_raw(spec: InputSpec, raw: Array | bytes | str, where: str) -> Array | bytes:
    """Check one raw sample against its spec.

    Args:
        spec: The input.
        raw: An array of the spec's dtype and shape; for a text a str or its UTF-8 bytes.
        where: Name of the sample for messages.

    Returns:
        The array, or the bytes of the text.

    Raises:
        InvalidDataError: Wrong dtype or shape, NaN or infinite values.
    """
    if spec.kind == "text":
        if not isinstance(raw, str | bytes):
            raise InvalidDataError(
                f"{where} is no text.", received=type(raw).__name__, expected="str or UTF-8 bytes"
            )
        try:
            # Both ways, because a str can hold what UTF-8 cannot: half of a surrogate pair.
            return raw.encode() if isinstance(raw, str) else raw.decode().encode()
        except UnicodeError as error:
            raise InvalidDataError(f"{where} is not UTF-8.", received=error) from None
    try:
        array = np.asarray(raw)
    except ValueError as error:
        raise InvalidDataError(f"{where} is no array.", received=error) from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidDataError(
            f"{where} holds a value that is not finite.",
            received=f"{array[at]} at {list(at)}",
            expected="finite numbers",
        )
    if array.dtype != spec.dtype:
        raise InvalidDataError(
            f"{where} has the wrong dtype.", received=str(array.dtype), expected=spec.dtype
        )
    fits = len(array.shape) == len(spec.shape) and all(
        want is None or want == have for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits or 0 in array.shape:
        raise InvalidDataError(
            f"{where} has the wrong shape.",
            received=list(array.shape),
            expected=["any" if d is None else d for d in spec.shape],
        )
    return array


def check_raw_column(
    spec: InputSpec, column: Column, where: str = "sample", *, first: int = 0, count: bool = False
) -> None:
    """Check N raw samples of an input against its spec.

    Args:
        spec: The input.
        column: The samples of it, at least one.
        where: What a sample is, for messages.
        first: Number of the first one, for messages.
        count: Say how many hold a value that is not finite, and not only which is the first.

    Raises:
        InvalidDataError: A sample does not fit the spec; names the first one.
    """
    if not isinstance(column, np.ndarray):
        for i, text in enumerate(column, first):
            check_raw(spec, text, f"{where} {i}")
        return
    # All of an array have one dtype and one shape: one sample speaks for them. Values do not.
    suspect = 0
    if column.dtype.kind == "f" and not (finite := np.isfinite(column)).all():
        bad = np.flatnonzero(~finite.reshape(len(column), -1).all(axis=1))
        if count:
            sample = column[bad[0]]
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(sample))[0])
            raise InvalidDataError(
                f"{len(bad):,} of {len(column):,} samples hold a value that is not finite.",
                received=f"{sample[at]} at {list(at)} of {where} {first + bad[0]}",
                expected="finite numbers",
            )
        suspect = int(bad[0])
    check_raw(spec, column[suspect], f"{where} {first + suspect}")


def preprocess(
    spec: InputSpec,
    raw: Array | bytes | str,
    vocabularies: Vocabularies | None = None,
    where: str = "the sample",
) -> Array:
    """Apply the input's steps to one raw sample.

    Returns:
        The model tensor without its batch dimension: float32 after ``affine``, int32 after
        ``pad``, the raw dtype where there is no such step.

    Raises:
        InvalidDataError: The raw sample does not fit the spec.
    """
    value: Array | bytes | list[bytes] = check_raw(spec, raw, where)
    if isinstance(value, np.ndarray):
        return _apply_to_arrays(spec.preprocessing, value[None], where)[0]
    for step in spec.preprocessing:
        value = _apply_to_text(step, value, vocabularies or {})
    return np.asarray(value)


def preprocess_batch(
    spec: InputSpec,
    raw: Array | Sequence[bytes],
    vocabularies: Vocabularies | None = None,
    *,
    first: int = 0,
) -> Array:
    """Apply the input's steps to many raw samples.

    Args:
        spec: The input.
        raw: ``[N, ...]`` array of equally shaped samples, or N texts as UTF-8 bytes.
        vocabularies: Content of the vocabulary files that ``lookup`` steps name.
        first: Number of the first sample, for messages.

    Returns:
        ``[N, ...]`` model tensors; bit for bit what ``preprocess`` gives for each sample.

    Raises:
        InvalidDataError: A raw sample does not fit the spec; names its index.
    """
    if not isinstance(raw, np.ndarray):
        return np.stack(
            [
                preprocess(spec, text, vocabularies, f"sample {i}")
                for i, text in enumerate(raw, first)
            ]
        )
    if len(raw) == 0:
        raise InvalidDataError("There are no samples.", received="0", expected="at least 1")
    check_raw_column(spec, raw, first=first)
    return _apply_to_arrays(spec.preprocessing, raw, f"sample {first}")


def postprocess(steps: Sequence[Step], values: Floats) -> Floats:
    """Apply an output's steps to dequantised values, float32 ``[N, ...]``."""
    for step in steps:
        if isinstance(step, Sigmoid):
            # exp of a large negative x overflows to inf, and 1/(1+inf) is the right 0.
            with np.errstate(over="ignore"):
                values = np.float32(1) / (np.float32(1) + np.exp(-values))
        elif isinstance(step, Softmax):
            powers = np.exp(values - values.max(axis=-1, keepdims=True))
            values = powers / powers.sum(axis=-1, keepdims=True)
        elif isinstance(step, Affine):
            values = _affine(values, step)
    return values


def tokenize(text: bytes) -> list[bytes]:
    """Return the tokens of a UTF-8 text: the ``tokenize`` step alone.

    >>> tokenize("Don't panic:  it's FINE!".encode())
    [b'dont', b'panic', b'its', b'fine']
    """
    # bytes.split() without an argument splits at exactly the ASCII white space of FORMAT.md.
    return text.translate(_LOWER, _PUNCTUATION).split()


def _apply_to_arrays(steps: Sequence[Step], batch: Array, where: str) -> Array:
    for step in steps:
        if isinstance(step, Grayscale):
            batch = _grayscale(batch, where)
        elif isinstance(step, Invert):
            batch = np.uint8(255) - batch
        elif isinstance(step, ResizeBilinear):
            batch = _resize_axis(_resize_axis(batch, 2, step.width), 1, step.height)
        elif isinstance(step, Affine):
            batch = _affine(batch, step)
    return batch


def _grayscale(batch: Array, where: str) -> Array:
    if batch.shape[-1] == 1:
        return batch
    if batch.shape[-1] != 3:
        raise InvalidDataError(
            f"{where} has the wrong number of channels.",
            received=batch.shape[-1],
            expected="1 (gray) or 3 (R, G, B)",
        )
    wide = batch.astype(np.int64)
    luma = 19595 * wide[..., 0] + 38470 * wide[..., 1] + 7471 * wide[..., 2] + 32768
    return (luma // 65536).astype(np.uint8)[..., None]


@lru_cache(maxsize=32)
def _resize_weights(n: int, m: int) -> Array:
    """Return the ``[m, n]`` integer weights of FORMAT.md's triangle filter."""
    out = (2 * np.arange(m, dtype=np.int64)[:, None] + 1) * n
    source = (2 * np.arange(n, dtype=np.int64)[None, :] + 1) * m
    return np.maximum(0, 2 * max(n, m) - np.abs(out - source))


def _resize_axis(batch: Array, axis: int, m: int) -> Array:
    n = batch.shape[axis]
    if n == m:
        return batch
    weights = _resize_weights(n, m)
    total = weights.sum(axis=1)
    columns = np.moveaxis(batch, axis, -1)
    result = np.empty((*columns.shape[:-1], m), np.uint8)
    for i in range(m):
        used = np.flatnonzero(weights[i])
        span = slice(int(used[0]), int(used[-1]) + 1)
        sums = columns[..., span].astype(np.int64) @ weights[i, span]
        result[..., i] = (2 * sums + total[i]) // (2 * total[i])
    return np.moveaxis(result, -1, axis)


def _affine(values: Array, step: Affine) -> Floats:
    scale, offset = np.asarray(step.scale, np.float32), np.asarray(step.offset, np.float32)
    for name, parameter in (("scale", scale), ("offset", offset)):
        if np.ndim(parameter) and np.shape(parameter)[0] != values.shape[-1]:
            raise InvalidDataError(
                f"affine: {name} does not fit the last dimension.",
                received=np.shape(parameter)[0],
                expected=values.shape[-1],
            )
    # Beyond float32 there is infinity, as in Java and JavaScript; no warning of numpy's.
    with np.errstate(over="ignore", invalid="ignore"):
        result = values.astype(np.float32) * scale
        result += offset
    return np.asarray(result, np.float32)


def _apply_to_text(
    step: Step, value: Array | bytes | list[bytes], vocabularies: Vocabularies
) -> Array | bytes | list[bytes]:
    if isinstance(step, Tokenize) and isinstance(value, bytes):
        return tokenize(value)
    if isinstance(step, Lookup) and isinstance(value, list):
        if step.vocabulary not in vocabularies:
            raise InvalidBundleError("The vocabulary is missing.", expected=step.vocabulary)
        ids = _vocabulary_ids(vocabularies[step.vocabulary])
        return np.array([ids.get(token, step.unknown) for token in value], np.int32)
    if isinstance(step, Pad) and isinstance(value, np.ndarray):
        padded = np.full(step.length, step.value, np.int32)
        kept = value[: step.length]
        if step.side == "right":
            padded[: len(kept)] = kept
        else:
            padded[step.length - len(kept) :] = kept
        return padded
    if isinstance(step, Affine) and isinstance(value, np.ndarray):
        return _affine(value, step)
    raise InvalidDataError(f"Step {step.name!r} cannot be applied to a text here.")


@lru_cache(maxsize=8)
def _vocabulary_ids(data: bytes) -> dict[bytes, int]:
    lines = data.split(b"\n")
    if lines[-1] != b"":
        raise InvalidBundleError("The vocabulary's last line is not ended by a line feed.")
    return {token: i for i, token in enumerate(lines[:-1]) if i >= 2}
