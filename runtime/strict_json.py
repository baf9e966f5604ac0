"""JSON read strictly: no duplicate keys, no NaN, no unknown keys, bounded depth.

A manifest decides which bytes an interpreter is given, so a reader that guesses is a hole
(FORMAT.md, section 2). Standard library only.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from edgeward.runtime.errors import InvalidManifestError

__all__ = ["MAX_DEPTH", "MAX_DIMENSIONS", "Fields", "dumps", "loads"]

MAX_DEPTH = 32
# numpy 1.26 holds 32 dimensions, and a batch dimension is still to come.
MAX_DIMENSIONS = 16

T = TypeVar("T")


def loads(data: bytes, where: str, max_bytes: int) -> Any:
    """Parse strict JSON.

    Args:
        data: UTF-8 text.
        where: File name for messages.
        max_bytes: Longest text accepted; a parser needs up to 24 times the text's memory.

    Raises:
        InvalidManifestError: The text is too long, not UTF-8, not JSON or not strict.
    """
    if len(data) > max_bytes:
        raise InvalidManifestError(
            f"{where} is too large.", received=f"{len(data)} bytes", expected=f"<= {max_bytes}"
        )
    try:
        value = json.loads(
            data.decode("utf-8", errors="strict"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_exact,
        )
        _check_tree(value)
    except (ValueError, RecursionError) as error:
        raise InvalidManifestError(
            f"{where} is not strict JSON.",
            received=str(error)[:200],
            expected="FORMAT.md, section 2",
        ) from None
    return value


def dumps(value: Any) -> bytes:
    """Serialise as this project writes JSON: sorted keys, two spaces, final newline."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _check_tree(value: Any) -> None:
    level = [value]
    depth = 0
    while level:
        children: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children.extend(item)
                children.extend(item.values())
            elif isinstance(item, list):
                children.extend(item)
            elif isinstance(item, str):
                # "\ud800" alone is JSON, but no Unicode text: it cannot be encoded or printed.
                item.encode()
        depth += any(isinstance(item, dict | list) for item in level)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        level = children


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"duplicate keys {[key for key, n in counts.items() if n > 1]}")
    return result


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not allowed")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} overflows")
    return value


def _exact(text: str) -> int:
    # JavaScript has doubles only: 2**53 + 1 would be another number there.
    value = int(text) if len(text) < 20 else 2**53
    if abs(value) >= 2**53:
        raise ValueError(f"{text[:40]} is no exact integer in a double")
    return value


class Fields:
    """The keys of one JSON object, read with their types; every miss names the place.

    Args:
        value: The parsed JSON value.
        where: Path of the value for messages, as in ``manifest.json: artifacts[0]``.
        keys: Exactly the keys the object must have.

    Raises:
        InvalidManifestError: Not an object, or keys are missing or unknown.
    """

    def __init__(self, value: Any, where: str, keys: Iterable[str]) -> None:
        self.where = where
        if not isinstance(value, dict):
            raise InvalidManifestError(f"{where} must be an object.", received=type(value).__name__)
        expected = set(keys)
        if set(value) != expected:
            raise InvalidManifestError(
                f"{where} has the wrong keys.",
                received=f"missing {sorted(expected - set(value))}, "
                f"unknown {sorted(set(value) - expected)}"[:400],
                expected=sorted(expected),
            )
        self._value = value

    def _typed(self, key: str, kind: tuple[type, ...], words: str) -> Any:
        value = self._value[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
            raise self.error(key, value, words)
        return value

    def error(self, key: str, value: object, expected: object) -> InvalidManifestError:
        """Make the error for a wrong value of ``key``."""
        return InvalidManifestError(
            f"{self.where}.{key} is wrong.", received=repr(value)[:200], expected=expected
        )

    def raw(self, key: str) -> Any:
        """Return the value as parsed."""
        return self._value[key]

    def text(self, key: str) -> str:
        """Return a string."""
        return str(self._typed(key, (str,), "a string"))

    def integer(self, key: str) -> int:
        """Return an integer."""
        return int(self._typed(key, (int,), "an integer"))

    def number(self, key: str) -> float:
        """Return a finite number."""
        return float(self._typed(key, (int, float), "a number"))

    def boolean(self, key: str) -> bool:
        """Return true or false."""
        return bool(self._typed(key, (bool,), "true or false"))

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return None for null, else what ``read(key)`` gives."""
        return None if self._value[key] is None else read(key)

    def array(self, key: str) -> list[Any]:
        """Return a list."""
        return list(self._typed(key, (list,), "an array"))

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object with free keys."""
        return dict(self._typed(key, (dict,), "an object"))

    def strings(self, key: str) -> tuple[str, ...]:
        """Return an array of strings."""
        values = self.array(key)
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, values, "an array of strings")
        return tuple(values)

    def string_map(self, key: str) -> dict[str, str]:
        """Return an object whose values are strings."""
        values = self.mapping(key)
        if not all(isinstance(value, str) for value in values.values()):
            raise self.error(key, values, "an object of strings")
        return values

    def shape(self, key: str) -> tuple[int | None, ...]:
        """Return dimensions: positive integers, or None for any."""
        values = self.array(key)
        if len(values) > MAX_DIMENSIONS:
            raise self.error(key, values, f"at most {MAX_DIMENSIONS} dimensions")
        for value in values:
            if value is not None and (
                not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31
            ):
                raise self.error(key, values, "an array of positive integers or null")
        return tuple(values)
