"""The packages that a conversion stands on, in one list. Nothing here imports any of them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable

from edgeward.runtime.errors import MissingExtraError

__all__ = ["CONVERTING", "DECISIVE", "check_installed", "versions"]

# What makes the artifacts; a bundle and its report name these versions.
CONVERTING = ("tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")

# What also decides which files come out, or which numbers are measured.
DECISIVE = (*CONVERTING, "ai-edge-litert", "flatbuffers", "onnxslim", "scipy", "tflite-runtime")

# tensorflow-cpu is the same module, and numpy is always there. What only some models or the report
# need is asked for too: it would be missed after minutes of work.
_MODULES = (
    *(name for name in CONVERTING if name not in ("tensorflow-cpu", "numpy")),
    *("onnxslim", "flatbuffers", "scipy", "jinja2", "matplotlib", "cattrs"),
)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed, without importing any."""
    found = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def check_installed() -> None:
    """Check that everything is there that makes artifacts and their report.

    Raises:
        MissingExtraError: A package is missing.
    """
    for module in _MODULES:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(f"{module}, which converting needs,", "convert")
