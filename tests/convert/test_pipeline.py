"""A conversion reads, hashes and renders each thing once."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeward.convert import convert, stages
from edgeward.convert.bundle.reuse import Shelf
from edgeward.convert.measure.bench import Bench
from edgeward.convert.measure.records import Parity, ParityRow
from edgeward.convert.options import Options
from edgeward.convert.report import html
from edgeward.convert.source.open import open_source
from edgeward.convert.worker.conversion import Conversion
from edgeward.runtime.files import sha256_file
from edgeward.train.run import Run

SPLITS = ("test", "calibration", "validation")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often this process loads and hashes a file, hashes a sample, and renders a report."""
    counts: Counter[str] = Counter()

    def count(module: Any, name: str, what: Any) -> None:
        original = getattr(module, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            counts[what(*arguments)] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, counting)

    count(np, "load", lambda file: f"load {Path(file).name}")
    count(hashlib, "file_digest", lambda file, _: f"hash {Path(file.name).name}")
    count(hashlib, "blake2b", lambda _: "sample")
    count(html, "to_html", lambda _: "report")
    return counts


def test_splits_are_loaded_and_hashed_once_and_the_report_is_rendered_once(
    own_run: Path, own_bundle: Path, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    def device_rows(files: dict[str, bytes], *_: object, timeout: float) -> Parity:
        seen.append(set(files))
        return Parity([], "parity on other processors: none here", again=True)

    monkeypatch.setattr("edgeward.convert.stages.device_rows", device_rows)
    before = Shelf.open(own_bundle, bundle=True)
    report = convert(
        own_run,
        formats=["tflite"],
        max_drop=0.015,
        out=own_bundle.parent,
        with_parity=True,
    )
    assert report.release == 2
    assert report.reused == ["tflite-fp32", "tflite-int8"]
    assert report.parity
    assert "parity on other processors: none here" in report.notes
    # What a device needs, and no report.
    artifacts = {f"{name}.tflite" for name in report.reused}
    assert seen == [{"manifest.json", "golden.json", "labels.txt", *artifacts}]
    assert [counted[f"load {name}.npz"] for name in SPLITS] == [1, 1, 1]
    assert [counted[f"hash {name}.npz"] for name in SPLITS] == [1, 1, 1]
    assert counted["hash model.keras"] == 1
    run = Run.open(own_run)
    assert counted["sample"] == sum(len(run.samples(name)) for name in SPLITS)
    assert counted["report"] == 1
    # The twin: each of them done again is seen. The sizes above have loaded once more already.
    sha256_file(own_run / "test.npz")
    report.to_html()
    assert [counted["load test.npz"], counted["hash test.npz"], counted["report"]] == [2, 2, 2]
    # Devices that were out of reach may be there the next time; the bundle before had no such.
    after = Shelf.open(own_bundle, bundle=True)
    assert before is not None
    assert after is not None
    assert before.record.request
    assert after.record.request == ""


@pytest.mark.parametrize(
    ("here", "elsewhere", "final"),
    [(False, False, True), (True, False, False), (False, True, False), (True, True, False)],
)
def test_answer_with_a_comparison_that_failed_is_not_final(
    monkeypatch: pytest.MonkeyPatch, here: bool, elsewhere: bool, final: bool
) -> None:
    row = ParityRow("tflite-int8", "slow", "default", 0, None, 0.0, None, "out of time")
    memories: list[int] = []

    def measure_all(_: object, bench: Bench, **__: object) -> list[Any]:
        memories.append(bench.memory or 0)
        return [SimpleNamespace(artifact=SimpleNamespace(id="tflite-int8"))]

    def parity(*_: object, timeout: float, memory: int) -> Parity:
        memories.append(memory)
        return Parity([row], again=here)

    given: dict[str, Any] = {
        "float_values": {},
        "reproduce": {},
        "choose_golden": None,
        "without_leaked": (SimpleNamespace(test=None), {}, []),
        "accepted": True,
        "suspicions": [],
        "runtime_files": {},
        "_created_with": {},
        "device_rows": Parity([row], "no devices", again=elsewhere),
    }
    for name, value in given.items():
        monkeypatch.setattr(stages, name, lambda *_, value=value, **__: value)
    monkeypatch.setattr(stages, "measure_all", measure_all)
    monkeypatch.setattr(stages, "parity", parity)
    options = Options("run", with_parity=True, repair=False)
    task: Any = SimpleNamespace(source=None, targets={}, memory=2**33, calibration=None)
    judged = stages.judge(options, task, stages.Made(Path(), Conversion({}), []))
    assert judged.final is final
    assert judged.parity == [row, row]
    assert judged.notes == ["no devices"]
    assert memories == [2**33, 2**33]


def test_another_test_split_has_hashes_of_its_own(own_run: Path, counted: Counter[str]) -> None:
    source = open_source(own_run)
    assert source.test_digests is source.test_digests
    assert counted["sample"] == len(source.test)
    some = replace(source, test=source.test.take([3, 1]))
    assert some.test_digests == [source.test_digests[3], source.test_digests[1]]
    assert counted["sample"] == len(source.test) + 2
