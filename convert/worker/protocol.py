"""What goes from process to process as JSON: dataclasses, written and read by cattrs."""

from __future__ import annotations

import functools
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["read", "write"]

_Value = TypeVar("_Value")


def write(path: Path, value: Any) -> None:
    """Write a dataclass as JSON."""
    path.write_text(json.dumps(_converter().unstructure(value)))


def read(path: Path, kind: type[_Value]) -> _Value:
    """Read a dataclass that ``write`` wrote.

    Args:
        path: The file.
        kind: The dataclass.

    Raises:
        ValueError: A key is missing, or is one that nobody knows.
        TypeError: A value is of another type.
        EdgewardError: The values do not go together: what the dataclass itself raises.
    """
    value: _Value = _converter().structure(json.loads(path.read_text()), kind)
    return value


@functools.cache
def _converter() -> Any:
    # Here, because an answer that is remembered needs no worker, and no packages of converting.
    import cattrs
    from cattrs.gen import make_dict_structure_fn

    converter = cattrs.Converter(detailed_validation=False)

    def of_dataclass(kind: type[Any]) -> Any:
        make = make_dict_structure_fn(kind, converter)

        def structure(value: Any, _: Any) -> Any:
            # A default is for who writes a job; one that is read says everything.
            wrong = {field.name for field in fields(kind)} ^ set(value)
            if wrong:
                raise ValueError(f"{kind.__name__}: missing or unknown {', '.join(sorted(wrong))}")
            return make(value, kind)

        return structure

    converter.register_structure_hook_factory(is_dataclass, of_dataclass)
    for plain, allowed in ((bool, bool), (int, int), (str, str), (float, (float, int))):
        converter.register_structure_hook(plain, _exactly(plain, allowed))
    return converter


def _exactly(kind: type[Any], allowed: Any) -> Any:
    """Return a hook that takes values of a type, where cattrs would make them fit."""

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)):
            raise TypeError(f"{value!r} is no {kind.__name__}")
        return kind(value)

    return structure
