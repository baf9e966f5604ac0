"""What no device may get away with: silence, a crash, NaN, a score that its answers do not have."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import REPOSITORY

from edgeward.runtime.bundle import Bundle
from edgeward.runtime.samples import load_samples, save_samples
from scripts.devices import host
from scripts.devices.damage import DAMAGES
from scripts.devices.page import as_text, damage_as_text, score
from scripts.devices.prove import prove, prove_damage
from scripts.devices.subject import Device, Measured, Subject

COUNT = 20


@pytest.fixture(scope="module")
def subject(run: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    opened = Bundle.open(bundle)
    samples = load_samples(run / "test.npz")
    some = samples.named(list(opened.manifest.inputs), list(opened.manifest.outputs))
    some = some.take(range(COUNT))
    folder = tmp_path_factory.mktemp("subject")
    save_samples(folder / "samples.npz", some)
    return Subject(opened, some, folder / "samples.npz", folder)


@pytest.fixture(scope="module")
def first() -> Device:
    return next(device for device in host.devices() if device.baseline is None)


@pytest.fixture(scope="module")
def measured(first: Device, subject: Subject) -> list[Measured]:
    return first.measure(subject)


Change = Callable[[Measured], Measured]


def rows_of(
    subject: Subject, first: Device, measured: list[Measured], change: Change, *, same: bool = True
) -> list[Any]:
    """Rows of a device that gives what the first one gave, changed."""
    known = replace(first, measure=lambda _: measured)
    device = Device(
        "other", "other", first.runtime, lambda _: [change(m) for m in measured], first.name, same
    )
    return [row for row in prove(subject, [known, device]) if row.device == "other"]


def test_a_device_that_gives_the_same_passes(
    subject: Subject, first: Device, measured: list[Measured]
) -> None:
    rows = rows_of(subject, first, measured, lambda one: one)
    assert [row.verdict for row in rows] == ["exact"] * len(measured)
    assert all(row.passed and row.samples == row.given == COUNT for row in rows)
    assert all(score(row.metrics) == "100.0 %" or "9" in score(row.metrics) for row in rows)
    assert "20 samples against host" in as_text(rows[0])


def with_nan(one: Measured) -> Measured:
    outputs = {name: values.copy() for name, values in one.outputs.items()}
    for values in outputs.values():
        if values.dtype.kind == "f":
            values[:15] = np.nan
        else:
            values[:15] = np.roll(values[:15], 1, axis=1)
    return replace(one, outputs=outputs)


def better(one: Measured) -> Measured:
    return replace(one, metrics={"digit": {"accuracy": 0.01}})


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_nan, ("float differs by inf", "not bit-identical", "LSB", "cannot be scored")),
        (better, ("its answers score",)),
        (lambda one: replace(one, metrics={}), ("its answers score",)),
        (lambda one: Measured(one.artifact, error="it died"), ("it died",)),
    ],
    ids=["NaN", "another score", "no score", "an error"],
)
def test_what_is_wrong_is_wrong(
    change: Change,
    words: tuple[str, ...],
    same: bool,
    subject: Subject,
    first: Device,
    measured: list[Measured],
) -> None:
    rows = rows_of(subject, first, measured, change, same=same)
    assert len(rows) == len(measured)
    for row in rows:
        assert row.passed is False
        assert row.verdict == "wrong"
        assert any(word in row.reason for word in words), row.reason


def test_silence_and_an_exception_are_rows_that_failed(subject: Subject, first: Device) -> None:
    def dies(_: Subject) -> list[Measured]:
        raise subprocess.TimeoutExpired("probe", 1)

    for measure, words in ((lambda _: [], "no answer"), (dies, "TimeoutExpired")):
        device = Device("mute", "mute", first.runtime, measure)
        rows = prove(subject, [first, device])
        mute = [row for row in rows if row.device == "mute"]
        assert len(mute) == len([row for row in rows if row.device == first.name]) >= 2
        assert [row.passed for row in mute] == [False] * len(mute)
        assert all(words in row.reason for row in mute)
        # Another device is proven all the same.
        assert all(row.passed for row in rows if row.device == first.name)


def test_a_device_that_says_nothing_of_a_damaged_bundle_has_not_noticed(
    subject: Subject, first: Device, tmp_path: Path
) -> None:
    intact = prove(subject, [first])
    mute = replace(first, measure=lambda _: [])
    rows = prove_damage(subject, [mute], intact, tmp_path / "mute")
    assert len(rows) == len(DAMAGES) * len(intact)
    assert {row.passed for row in rows} == {False}
    assert any("not noticed" in line for line in damage_as_text(rows))
    rows = prove_damage(subject, [first], intact, tmp_path / "real")
    assert {row.passed for row in rows} == {True}
    assert damage_as_text(rows)[0].split()[3:6] == [str(len(rows)), "of", str(len(rows))]


def test_a_bundle_that_cannot_be_copied_whole_is_told(
    subject: Subject, first: Device, tmp_path: Path
) -> None:
    intact = prove(subject, [first])
    folder = tmp_path / subject.name
    folder.mkdir()
    for file in subject.bundle.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    opened = Bundle.open(folder)
    (folder / "golden.json").write_bytes(b"{}")
    rows = prove_damage(replace(subject, bundle=opened), [first], intact, tmp_path / "damaged")
    assert [row.passed for row in rows] == [False]
    assert "golden.json" in rows[0].said


@pytest.mark.parametrize("twice", [False, True])
def test_the_command_prints_one_object_and_refuses_a_bundle_twice(
    twice: bool, run: Path, bundle: Path
) -> None:
    words = ["--devices", "host", "--samples", "5", "--data", str(run / "test.npz"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.devices.run", *[str(bundle)] * (1 + twice), *words],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    if twice:
        assert done.returncode == 2
        assert "same name" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    assert set(tree) == {"rows", "damage", "not_proven"}
    assert len(tree["damage"]) == 3 * len(tree["rows"])
