"""JSON back into the dataclasses that ``dataclasses.asdict`` made it from."""

from __future__ import annotations

import collections.abc
import types
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

__all__ = ["decode"]

_MAPPINGS = (dict, collections.abc.Mapping)
_SEQUENCES = (list, collections.abc.Sequence)


def decode(kind: Any, value: Any) -> Any:
    """Return a value as the type that it is annotated with.

    Args:
        kind: A dataclass, a container of them, or a plain type.
        value: What ``json.loads`` gave; it comes from a file that was verified.

    Raises:
        TypeError: The value is not of that type: it was written by another version.

    >>> decode(dict[str, tuple[int, ...]], {"shape": [1, 28]})
    {'shape': (1, 28)}
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (kind,) = (argument for argument in arguments if argument is not type(None))
        return decode(kind, value)
    if origin in _MAPPINGS and isinstance(value, dict):
        return {key: decode(arguments[1], item) for key, item in value.items()}
    if origin in _SEQUENCES and isinstance(value, list):
        return [decode(arguments[0], item) for item in value]
    if origin is tuple and isinstance(value, list):
        each = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        return tuple(decode(item_kind, item) for item_kind, item in zip(each, value, strict=True))
    if is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        if set(value) != {field.name for field in fields(kind)}:
            raise TypeError(f"{kind} has other fields than {sorted(value)}")
        return typing.cast(Any, kind)(**{k: decode(hints[k], item) for k, item in value.items()})
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise TypeError(f"{value!r} is no {kind}")
