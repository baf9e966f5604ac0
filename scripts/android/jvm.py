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

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import EdgewardError

__all__ = [
    "LOGIC",
    "SOURCES",
    "Java",
    "absent",
    "array",
    "array_json",
    "compile_logic",
    "compile_sources",
    "raw_json",
    "text_json",
]

MAIN = Path(__file__).resolve().parents[2] / "android_demo" / "app" / "src"
LOGIC = MAIN / "main" / "java" / "edgeward" / "demo" / "logic"
HARNESS = MAIN / "test" / "java" / "edgeward" / "demo" / "logic"
SOURCES = (*sorted(LOGIC.glob("*.java")), *sorted(HARNESS.glob("*.java")))


def absent() -> list[str]:
    """Return the programs that are not installed: there is no Java then."""
    return [tool for tool in ("javac", "java") if shutil.which(tool) is None]


def compile_logic(folder: Path) -> Java:
    """Compile the logic and the harness to ``folder``, as Java 8, which is what the app is."""
    return Java([compile_sources(folder, SOURCES)])


def compile_sources(folder: Path, sources: Iterable[Path], *known: Path) -> Path:
    """Compile to ``folder`` and return the folder of classes.

    Args:
        folder: Where to.
        sources: Java files.
        known: Folders of classes that the sources use.

    Raises:
        EdgewardError: They do not compile, or not without a warning.
    """
    classes = folder / "classes"
    _run(
        ["javac", "-Xlint:all,-options", "-Werror", "--release", "8", "-encoding", "UTF-8",
         "-cp", os.pathsep.join(map(str, known)), "-d", classes, *sources]
    )  # fmt: skip
    return classes


def _run(command: list[object]) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, encoding="utf-8", timeout=600
    )
    if done.returncode:
        raise EdgewardError(f"{command[0]} failed.", received=done.stderr.strip()[-2000:])
    return done.stdout


class Java:
    """The compiled logic."""

    def __init__(self, classes: list[Path]) -> None:
        self.classes = classes

    def answers(self, cases: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer cases in one process; see ``Cases.java`` for what there is.

        Raises:
            EdgewardError: The process died, or did not answer every case.
        """
        lines = [json.dumps(case) for case in cases]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cases"
            path.write_text("\n".join(lines), encoding="utf-8")
            known = os.pathsep.join(map(str, self.classes))
            # The simple compiler alone: such a process is too short for the other one.
            command = ["java", "-XX:TieredStopAtLevel=1", "-cp", known, "edgeward.demo.logic.Cases"]
            answers = [json.loads(line) for line in _run([*command, path]).splitlines()]
        if len(answers) != len(lines):
            raise EdgewardError("Java left cases out.", received=len(answers), expected=len(lines))
        return answers


def array_json(values: Array) -> dict[str, Any]:
    """Return an array as ``golden.json`` holds it."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return {
        "dtype": values.dtype.name,
        "shape": list(values.shape),
        "base64": text_json(little.tobytes()),
    }


def text_json(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode()


def raw_json(raw: Array | bytes) -> Any:
    """Return a raw sample as the harness reads it: a text is base64, which need not be UTF-8."""
    return text_json(raw) if isinstance(raw, bytes) else array_json(raw)


def array(answer: dict[str, Any]) -> Array:
    """Return the array in an answer.

    Raises:
        EdgewardError: The app refused the case.
    """
    if "error" in answer:
        raise EdgewardError("The app refused the case.", received=answer["message"])
    dtype = np.dtype(answer["dtype"]).newbyteorder("<")
    shape = [int(size) for size in filter(None, answer["shape"].split(","))]
    return np.frombuffer(base64.b64decode(answer["base64"]), dtype).reshape(shape)
