"""Options of a user's own model that are written as NAME=VALUE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from runtime.errors import UsageError
from runtime.specs import OutputSpec
from runtime.tasks import METRIC

__all__ = ["check_expected", "parse_expect", "parse_shapes"]


def parse_shapes(items: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Parse ``--shape NAME=DIMS``, dimensions after the batch with ``x`` between them.

    Raises:
        UsageError: Something else, or a name twice.

    >>> parse_shapes(["tokens=200", "image=28x28x1"])
    {'tokens': (200,), 'image': (28, 28, 1)}
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for item in items:
        name, equals, dims = item.partition("=")
        parts = dims.split("x")
        valid = all(part.isascii() and part.isdecimal() and 0 < int(part) < 2**31 for part in parts)
        if not (name and equals and valid) or name in shapes:
            raise UsageError(
                "A shape is wrong.",
                received=f"--shape {item}",
                expected="NAME=DIMS once for an input, without the batch: tokens=200 or "
                "image=28x28x1",
            )
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def parse_expect(items: Sequence[str]) -> dict[str, float]:
    """Parse ``--expect METRIC=VALUE`` or, with several outputs, ``NAME.METRIC=VALUE``.

    Raises:
        UsageError: Something else, or a metric twice.

    >>> parse_expect(["kind.accuracy=0.981", "size.rmse=2.5"])
    {'kind.accuracy': 0.981, 'size.rmse': 2.5}
    """
    expected: dict[str, float] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value) or name in expected:
            raise UsageError(
                "An expected metric is wrong.",
                received=f"--expect {item}",
                expected="METRIC=VALUE once for a metric: accuracy=0.981, or NAME.accuracy=0.981",
            )
        expected[name] = value
    return expected


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
