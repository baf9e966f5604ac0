"""The matrix on other processors: what hangs there costs its rows, never the conversion."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edgeward.convert.bundle import devices
from edgeward.convert.bundle.devices import device_rows
from edgeward.convert.measure.records import Parity
from edgeward.runtime.bundle import SUMS
from edgeward.runtime.samples import Samples, load_samples

# A child of it holds the pipes, as an emulator does.
HANGS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""
REAL = devices._run
ANSWERS = "print('{\"rows\": []}')"


@pytest.fixture
def given(run: Path, bundle: Path) -> tuple[dict[str, bytes], Samples]:
    files = {path.name: path.read_bytes() for path in bundle.iterdir() if path.name != SUMS}
    return files, load_samples(run / "test.npz")


def rows(
    given: tuple[dict[str, bytes], Samples], monkeypatch: pytest.MonkeyPatch, program: str
) -> Parity:
    monkeypatch.setattr(
        devices, "_run", lambda _, timeout: REAL([sys.executable, "-c", program], timeout)
    )
    return device_rows(*given, lambda _: None, timeout=2.0 if program == HANGS else 60.0)


def test_device_that_hangs_is_a_note_that_names_the_option(
    given: tuple[dict[str, bytes], Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    found = rows(given, monkeypatch, HANGS)
    assert time.monotonic() - started < 60
    assert found.rows == []
    assert found.why_not.startswith("no parity on other processors: they ran out of time, 2 s")
    assert "--timeout" in found.why_not
    assert found.again


def test_devices_that_answer_need_no_note(
    given: tuple[dict[str, bytes], Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin, and one that says nothing."""
    assert rows(given, monkeypatch, ANSWERS) == Parity([])
    failed = "import sys; sys.exit('no network')"
    why = "no parity on other processors: no network"
    assert rows(given, monkeypatch, failed) == Parity([], why, again=True)


def test_device_rows_that_no_checkout_can_give_are_not_asked_for_again(
    given: tuple[dict[str, bytes], Samples], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "_ROOT", tmp_path)
    found = rows(given, monkeypatch, ANSWERS)
    assert "needs a checkout" in found.why_not
    assert not found.again
