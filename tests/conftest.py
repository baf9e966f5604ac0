"""What all tests share: one real run and one real bundle, made once for each test session."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import REPOSITORY, SUBSET, RunPython, child_environment, python

from edgeward.runtime.locks import locked

# Before TensorFlow can be imported by anything: the other way round tflite-runtime 2.14 fails with
# "ValueError: vector::reserve".
with contextlib.suppress(ImportError):
    import tflite_runtime.interpreter  # noqa: F401


# A shell without job control starts what runs in the background with Ctrl-C ignored, and children
# inherit that: the tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment of a subprocess that finds this repository from any folder."""
    return child_environment()


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Run this interpreter in an empty folder."""

    def call(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return python(*arguments, cwd=tmp_path, **variables)

    return call


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Make a folder once for all workers of pytest-xdist."""
    base = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    folder = base / f"shared-{name}"
    with locked(base / f"{name}.lock"):
        if not folder.exists():
            partial = base / f"partial-{name}"
            make(partial)
            partial.rename(folder)
    return folder


def _succeed(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run: mnist_cnn trained for 3 epochs on the committed subset. Read-only: copy it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        _succeed(
            python(
                *("-m", "train", "mnist_cnn", "--data", SUBSET, "--epochs", "3"),
                *("--out", "runs"),
                cwd=folder,
            )
        )

    return _once(tmp_path_factory, "run", make) / "runs" / "mnist_cnn" / "001"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """A real bundle of that run, int8 in both formats. Read-only: copy it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        # The subset's 1,500 test digits cannot prove the recipe's 0.2 points; 1.5 they can.
        _succeed(
            python(
                *("-m", "convert", run, "--int8", "--max-drop", "0.015", "--out", "bundles"),
                cwd=folder,
            )
        )

    return _once(tmp_path_factory, "bundle", make) / "bundles" / "mnist_cnn"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository, from its sdist: an editable install has files no user gets."""

    def make(folder: Path) -> None:
        # By way of the sdist: built in place, setuptools would take what an older build/ holds.
        command = [sys.executable, "-m", "build", "--outdir", folder, REPOSITORY]
        subprocess.run(command, check=True, capture_output=True)

    (wheel,) = _once(tmp_path_factory, "wheel", make).glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of text_lstm on the real reviews, made small, and its bundle. Read-only: copy them."""

    def make(folder: Path) -> None:
        folder.mkdir()
        small = ("length=40", "units=32", "embedding=32")
        options = [word for setting in small for word in ("--set", setting)]
        for arguments in (
            ("train", "text_lstm", "--epochs", "3", "--learning-rate", "0.004", *options),
            ("convert", "--int8", "--max-drop", "0.1"),
        ):
            _succeed(python("-m", *arguments, cwd=folder))

    folder = _once(tmp_path_factory, "texts", make)
    return folder / "runs" / "text_lstm" / "001", folder / "bundles" / "text_lstm"


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    copy = tmp_path / "runs" / "mnist_cnn" / "001"
    shutil.copytree(run, copy)
    return copy


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, where a conversion of the run would replace it."""
    copy = tmp_path / "bundles" / "mnist_cnn"
    shutil.copytree(bundle, copy)
    return copy
