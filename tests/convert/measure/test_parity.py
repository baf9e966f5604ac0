"""One artifact on every runtime and kernel set: what differs, counted."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from damage import break_artifact

from edgeward.convert.formats import FORMATS
from edgeward.convert.measure import parity as module
from edgeward.convert.measure.measure import Measured
from edgeward.convert.measure.parity import parity
from edgeward.convert.source.open import open_source
from edgeward.runtime.backends import available_backends
from edgeward.runtime.bundle import Bundle

IDS = ("tflite-int8", "onnx-int8")


@pytest.fixture(scope="module")
def measured(bundle: Path) -> dict[str, Measured]:
    opened = Bundle.open(bundle)
    found = {}
    for name in IDS:
        artifact = opened.manifest.artifact(name)
        data = opened.artifact_bytes(artifact)
        found[name] = Measured(artifact, data, {}, {}, (), {}, [], 0, latency={})
    return found


@pytest.mark.parametrize("name", IDS)
def test_each_runtime_and_kernel_set_is_compared_with_the_first(
    run: Path, measured: dict[str, Measured], name: str
) -> None:
    said: list[str] = []
    one = measured[name]
    found = parity([one], open_source(run), said.append)
    rows = found.rows
    assert not found.again
    format_ = one.artifact.format
    assert len(rows) == len(available_backends(format_)) * len(FORMATS[format_].kernels)
    assert rows[0].max_lsb == 0
    assert rows[0].differing == 0
    assert rows[0].flips == 0
    for row in rows:
        assert row.samples == 200
        assert row.detail == ""
        # What the bundle allows was measured on the golden vectors and the test split.
        assert row.max_lsb is not None
        assert row.max_lsb <= max(one.artifact.max_lsb, 3)
    assert said == [f"parity of {name} on 200 samples"]


def test_damage_shows_in_the_runtime_that_has_it_and_a_dead_runtime_is_a_row(
    run: Path, measured: dict[str, Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: another file in one runtime is found, and so is one that cannot be read."""
    one = measured["tflite-int8"]
    damaged = replace(one, data=break_artifact("tflite-int8", one.data))
    real = module._run

    def run_on(given: Measured, *rest: object) -> object:
        if rest[-1] == "no-delegate":
            return real(damaged, *rest)  # type: ignore[arg-type]
        if rest[-1] == "reference":
            return real(replace(one, data=b"no model"), *rest)  # type: ignore[arg-type]
        return real(given, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_run", run_on)
    found = parity([one], open_source(run), lambda _: None)
    rows = found.rows
    # A file that cannot be read cannot be read the next time either.
    assert not found.again
    wrong = [row for row in rows if row.kernels == "no-delegate"]
    dead = [row for row in rows if row.kernels == "reference"]
    assert wrong
    assert dead
    for row in wrong:
        assert row.max_lsb is not None
        assert row.max_lsb > 20
        assert row.flips
    for row in dead:
        assert row.max_lsb is None
        assert row.detail


def test_kernels_that_hang_are_rows_and_the_others_are_compared(
    run: Path, measured: dict[str, Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = measured["tflite-int8"]
    real = module._run

    def run_on(*given: object) -> object:
        if given[-1] == "no-delegate":
            time.sleep(600)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_run", run_on)
    started = time.monotonic()
    found = parity([one], open_source(run), lambda _: None, timeout=8.0)
    rows = found.rows
    assert found.again
    assert time.monotonic() - started < 120
    late = [row for row in rows if row.kernels == "no-delegate"]
    assert late
    for row in late:
        assert row.max_lsb is None
        assert "out of time" in row.detail
    # The twin: the same file on other kernels, with the same limit.
    assert all(row.detail == "" for row in rows if row not in late)
