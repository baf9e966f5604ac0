"""What the tests of the app share: wrong apps for the twins, and arrays compared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edgeward.runtime.arrays import Array
from scripts.android.jvm import LOGIC, Java, absent, array, compile_sources

__all__ = ["compile_wrong", "differing", "need_java"]


def need_java() -> None:
    """Skip where there is no Java compiler."""
    if absent():
        tools = ", ".join(absent())
        pytest.skip(f"{tools} missing: bash scripts/android/setup.sh installs them")


def compile_wrong(right: Java, folder: Path, name: str, old: str, new: str) -> Java:
    """Return a wrong app, for the twins: class ``name`` with ``new`` in place of ``old``."""
    text = (LOGIC / f"{name}.java").read_text(encoding="utf-8")
    assert old in text, f"{name}.java no longer holds {old!r}"
    folder.mkdir(exist_ok=True)
    changed = folder / f"{name}.java"
    changed.write_text(text.replace(old, new), encoding="utf-8")
    return Java([compile_sources(folder, [changed], *right.classes), *right.classes])


def differing(answers: list[dict[str, Any]], expected: Iterable[Array]) -> list[int]:
    """Return the numbers of the answers that are not Python's array, byte for byte."""
    found = [array(answer) for answer in answers]
    wanted = list(expected)
    assert len(found) == len(wanted)
    return [
        i
        for i, (a, b) in enumerate(zip(found, wanted, strict=True))
        if (a.dtype, a.shape, a.tobytes()) != (b.dtype, b.shape, b.tobytes())
    ]
