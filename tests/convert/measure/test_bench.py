"""What is measured of one artifact, and what a comparison that hangs or fails costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeward.convert.layers import compare
from edgeward.convert.measure import bench as module
from edgeward.convert.measure.bench import Bench, measure_one
from edgeward.convert.measure.measure import Measured
from edgeward.convert.source.open import open_source
from edgeward.convert.targets.target import choose_targets
from edgeward.runtime.errors import TargetError
from edgeward.runtime.samples import load_samples

LIMIT = 3.0


def seen(artifact: Any, data: bytes, **_: Any) -> Measured:
    return Measured(artifact, data, {}, {}, (), {}, [], 0, latency={})


@pytest.fixture
def measured(
    run: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[..., Any] | None], Measured]:
    """Measure a real artifact, but for its drift, with another comparison of its layers."""
    monkeypatch.setattr(module, "measure", seen)

    def call(compared: Callable[..., Any] | None) -> Measured:
        if compared is not None:
            monkeypatch.setattr(compare, "layer_drift", compared)
        golden = load_samples(run / "test.npz").take(range(4))
        limit = LIMIT if compared is not None else 120.0
        targets = choose_targets(None, ("tflite",))
        bench = Bench(bundle, open_source(run), {}, golden, None, targets, limit)
        return measure_one("tflite-int8", False, None, bench)[0]

    return call


def hang(*_: Any) -> None:
    time.sleep(600)


def refuse(*_: Any) -> None:
    raise TargetError("No such op.", received="Erf")


def test_layers_that_take_too_long_are_a_reason_and_not_the_end(
    measured: Callable[[Callable[..., Any] | None], Measured],
) -> None:
    started = time.monotonic()
    late = measured(hang)
    assert time.monotonic() - started < 60
    assert late.layers is not None
    assert late.layers.layers == []
    assert "ran out of time: comparing tflite-int8 layer by layer" in late.layers.skipped
    # Asking again may help, and an earlier answer would not.
    assert late.transient
    failed = measured(refuse)
    assert failed.layers is not None
    assert (failed.layers.skipped, failed.transient) == ("No such op. Erf", False)


def test_layers_that_take_their_time_are_compared(
    measured: Callable[[Callable[..., Any] | None], Measured],
) -> None:
    """The twin: the comparison itself, with time enough."""
    found = measured(None)
    assert found.layers is not None
    assert (found.layers.skipped, found.transient) == ("", False)
    assert found.layers.samples == 48
