"""What tests of several folders import: the repository and processes that find it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).parents[1]
SUBSET = REPOSITORY / "train" / "datasets" / "mnist_subset.npz"

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


def child_environment() -> dict[str, str]:
    """Environment of a subprocess that finds this repository from any folder."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    clean = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    return {**clean, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}


def python(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter; returns its exit code and both outputs."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**child_environment(), **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )


def load_script(path: Path) -> ModuleType:
    """Import a program of the repository that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
