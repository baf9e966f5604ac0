"""What is measured of one artifact, and what a comparison that hangs or fails costs."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeward.convert.formats import FORMATS
from edgeward.convert.layers import compare, parting
from edgeward.convert.measure import bench as module
from edgeward.convert.measure import measure as measure_module
from edgeward.convert.measure import parity as parity_module
from edgeward.convert.measure.bench import Bench, measure_one
from edgeward.convert.measure.measure import Measured, measure
from edgeward.convert.measure.parity import parity
from edgeward.convert.measure.records import Parting
from edgeward.convert.source.open import open_source
from edgeward.convert.targets.target import choose_targets
from edgeward.runtime.backends import BACKENDS, available_backends
from edgeward.runtime.bundle import Bundle
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


@pytest.fixture
def bench(run: Path, bundle: Path, tmp_path: Path) -> Bench:
    """A bench whose folder has int8 and a file in the place of its twin."""
    for name in ("int8", "fp32"):
        (tmp_path / f"tflite-{name}.tflite").write_bytes(
            (bundle / "tflite-int8.tflite").read_bytes()
        )
    golden = load_samples(run / "test.npz").take(range(4))
    targets = choose_targets(None, ("tflite",))
    return Bench(tmp_path, open_source(run), {}, golden, None, targets, 60.0)


@pytest.mark.parametrize("memory", [None, 0, 2**33])
def test_every_process_gets_the_memory_that_was_given(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, memory: int | None
) -> None:
    given: dict[str, int | None] = {}
    one: list[Measured] = []

    def isolated(what: str, function: Any, *_: Any, memory: int | None, **__: Any) -> Any:
        given[what.split(",")[0]] = memory
        if what.startswith("measuring"):
            apart = Parting(("a 1", "b 2"), ("a", "b"), 9, ())
            one.append(replace(seen(*function.args), parting=apart))
            return one[0]
        raise TargetError("Not here.")

    for place in (module, compare, parting, parity_module):
        monkeypatch.setattr(place, "isolated", isolated)
    measure_one("tflite-int8", False, None, replace(bench, memory=memory))
    assert list(given) == [
        "measuring tflite-int8",
        "comparing two runtimes layer by layer",
        "comparing tflite-int8 layer by layer",
    ]
    parity(one, bench.source, lambda _: None, memory=memory)
    assert len(given) > 3
    assert set(given.values()) == {memory}


def test_named_target_is_measured_alone_only_in_the_version_that_is_installed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[list[str]] = []

    def note(*given: Any, **options: Any) -> Measured:
        named.append(options["named"])
        return seen(*given)

    monkeypatch.setattr(
        module, "isolated", lambda _, function, **__: function() if function.func is note else ""
    )
    monkeypatch.setattr(module, "measure", note)
    monkeypatch.setattr(module, "_with_layers", lambda measured, *_: measured)
    backend = available_backends("tflite")[0]
    distribution = BACKENDS[backend][0]
    targets = choose_targets(
        f"{distribution}=={importlib.metadata.version(distribution)}", ("tflite",)
    )
    measure_one("tflite-int8", False, None, replace(bench, targets=targets))
    # The twin: that runtime in a version that is not here.
    other = {"tflite": [replace(targets["tflite"][0], version="999.0")]}
    measure_one("tflite-int8", False, None, replace(bench, targets=other))
    # And a format whose runtimes nobody described.
    measure_one("tflite-int8", False, None, replace(bench, targets={}))
    assert named == [[backend], [], []]


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-int8"])
def test_kernels_of_the_format_are_compared(
    run: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Stop(Exception):
        pass

    compared: list[Any] = []

    def stop(_: Any, answers: Any) -> None:
        compared.extend(answers)
        raise Stop

    monkeypatch.setattr(measure_module, "decide_tolerance", stop)
    source, opened = open_source(run), Bundle.open(bundle)
    artifact = opened.manifest.artifact(name)
    data = opened.artifact_bytes(artifact)
    golden = source.test.take(range(4))
    source = replace(source, test=source.test.take(range(100)))
    values = {output: np.full((100, 10), 0.1, np.float32) for output in source.outputs}
    with pytest.raises(Stop):
        measure(artifact, data, 1, source, values, golden, None)
    backends, kernels = available_backends(artifact.format), FORMATS[artifact.format].kernels
    assert sorted((a.backend, a.kernels) for a in compared) == sorted(
        (backend, one) for backend in backends for one in kernels
    )
