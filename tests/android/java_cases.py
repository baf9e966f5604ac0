"""Compile the app's logic for the JVM and let it answer cases, to compare with Python's."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import REPOSITORY

from runtime.arrays import Array

__all__ = [
    "Java",
    "array",
    "array_json",
    "compile_logic",
    "compile_wrong",
    "differing",
    "need_java",
    "text_json",
]

SOURCES = REPOSITORY / "android_demo" / "app" / "src"
LOGIC = SOURCES / "main" / "java" / "edgeward" / "demo" / "logic"
HARNESS = SOURCES / "test" / "java" / "edgeward" / "demo" / "logic"


def need_java() -> None:
    """Skip where there is no Java compiler."""
    for tool in ("javac", "java"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: bash scripts/android/setup.sh installs it")


def compile_logic(folder: Path) -> Java:
    """Compile the logic and the harness to ``folder``, as Java 8, which is what the app is."""
    return Java([_javac(folder, [*sorted(LOGIC.glob("*.java")), *sorted(HARNESS.glob("*.java"))])])


def compile_wrong(right: Java, folder: Path, name: str, old: str, new: str) -> Java:
    """Return a wrong app, for the twins: class ``name`` with ``new`` in place of ``old``."""
    text = (LOGIC / f"{name}.java").read_text(encoding="utf-8")
    assert old in text, f"{name}.java no longer holds {old!r}"
    changed = folder / f"{name}.java"
    changed.write_text(text.replace(old, new), encoding="utf-8")
    return Java([_javac(folder, [changed], *right.classes), *right.classes])


def _javac(folder: Path, sources: list[Path], *known: Path) -> Path:
    classes = folder / "classes"
    done = subprocess.run(
        ["javac", "-Xlint:all,-options", "-Werror", "--release", "8", "-encoding", "UTF-8",
         "-cp", os.pathsep.join(map(str, known)), "-d", classes, *sources],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return classes


class Java:
    """The compiled logic."""

    def __init__(self, classes: list[Path]) -> None:
        self.classes = classes

    def answers(self, cases: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer cases in one process; see ``Cases.java`` for what there is."""
        lines = [json.dumps(case) for case in cases]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cases"
            path.write_text("\n".join(lines), encoding="utf-8")
            done = subprocess.run(
                ["java", "-XX:TieredStopAtLevel=1", "-cp", os.pathsep.join(map(str, self.classes)),
                 "edgeward.demo.logic.Cases", path],
                capture_output=True, text=True, encoding="utf-8", timeout=300,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(lines)
        return answers


def array_json(values: Array) -> dict[str, Any]:
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return {
        "dtype": values.dtype.name,
        "shape": list(values.shape),
        "base64": text_json(little.tobytes()),
    }


def text_json(data: bytes) -> str:
    return base64.b64encode(data).decode()


def array(answer: dict[str, Any]) -> Array:
    assert "error" not in answer, answer
    dtype = np.dtype(answer["dtype"]).newbyteorder("<")
    shape = [int(size) for size in filter(None, answer["shape"].split(","))]
    return np.frombuffer(base64.b64decode(answer["base64"]), dtype).reshape(shape)


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
