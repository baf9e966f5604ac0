"""The converter's process: its crash, its death and its errors become ours."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgeward.convert.worker import packages
from edgeward.convert.worker import process as child
from edgeward.convert.worker.job import CALIBRATION, Job
from edgeward.convert.worker.memory import says_memory, showed_limit
from edgeward.convert.worker.process import run_worker
from edgeward.runtime.errors import ConverterError, InvalidModelError, MissingExtraError
from edgeward.train.run import Run


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """A work folder with a real job."""
    info = Run.open(run).info
    Job(
        model=str(run / "model.keras"),
        test=str(run / "test.npz"),
        inputs={name: spec.to_json() for name, spec in info.inputs.items()},
        outputs=list(info.outputs),
        vocabularies={},
        artifacts=["tflite-fp32"],
    ).write(tmp_path)
    (tmp_path / CALIBRATION).write_bytes((run / "calibration.npz").read_bytes())
    return tmp_path


def ignore(event: dict[str, Any]) -> None:
    pass


def test_worker_that_is_killed_is_an_error_with_stage_and_signal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **options))
        return started[0]

    monkeypatch.setattr(child.subprocess, "Popen", popen)

    def kill(event: dict[str, Any]) -> None:
        if event.get("stage") == "load the model":
            started[0].kill()

    with pytest.raises(ConverterError, match="load the model") as caught:
        run_worker(folder, timeout=120, on_event=kill)
    assert "SIGKILL" in str(caught.value)


def test_worker_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ConverterError, match=r"job\.json"):
        run_worker(tmp_path, timeout=60, on_event=ignore)


def test_nan_weight_is_named_instead_of_a_segmentation_fault(folder: Path, run: Path) -> None:
    model = keras.models.load_model(run / "model.keras")
    kernel = model.layers[1].kernel
    values = np.array(kernel)
    values[0, 0, 0, 0] = np.nan
    kernel.assign(values)
    model.save(folder / "nan.keras")
    job = Job.read(folder)
    Job(**{**job.__dict__, "model": str(folder / "nan.keras")}).write(folder)
    with pytest.raises(InvalidModelError, match="kernel"):
        run_worker(folder, timeout=120, on_event=ignore)


def test_damaged_model_file_is_an_invalid_model(folder: Path) -> None:
    broken = folder / "broken.keras"
    broken.write_bytes(b"PK\3\4 this is no model")
    job = Job.read(folder)
    Job(**{**job.__dict__, "model": str(broken)}).write(folder)
    with pytest.raises(InvalidModelError, match=r"broken\.keras"):
        run_worker(folder, timeout=120, on_event=ignore)


def test_missing_package_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"edgeward\[convert\]"):
        run_worker(folder, timeout=60, on_event=ignore)


@pytest.mark.parametrize("module", ["cattrs", "flatbuffers", "jinja2", "matplotlib", "onnxslim"])
def test_each_missing_package_is_named_before_the_work(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    packages.check_installed()  # the twin: all are there
    found = importlib.util.find_spec
    monkeypatch.setattr(
        packages.importlib.util, "find_spec", lambda name: None if name == module else found(name)
    )
    with pytest.raises(MissingExtraError, match=module):
        packages.check_installed()


@pytest.mark.parametrize("limit", [0.2, 0.5, 0.65])
def test_too_little_memory_names_the_limit_and_the_option(folder: Path, limit: float) -> None:
    memory = int(limit * 2**30)
    job = Job.read(folder)
    Job(**{**job.__dict__, "memory": memory}).write(folder)
    with pytest.raises(ConverterError, match="out of memory") as caught:
        run_worker(folder, timeout=120, on_event=ignore, memory=memory)
    assert f"{limit:.2f} GB" in str(caught.value.received)
    assert "--memory" in str(caught.value.fix)


def test_enough_memory_is_no_error(folder: Path) -> None:
    memory = 2 * 2**30
    job = Job.read(folder)
    Job(**{**job.__dict__, "memory": memory}).write(folder)
    events: list[dict[str, Any]] = []
    run_worker(folder, timeout=120, on_event=events.append, memory=memory)
    assert "tflite-fp32" in [event.get("made") for event in events]


def test_place_of_a_crash_is_told_by_label_where_there_is_one() -> None:
    event = {"stage": "convert", "artifact": "tflite-int8.calibration.1"}
    assert child._place({**event, "label": "tflite-int8, attempt 2"}) == (
        "convert tflite-int8, attempt 2"
    )
    assert child._place(event) == "convert tflite-int8.calibration.1"
    assert child._place({"stage": "load the model"}) == "load the model"


def test_crash_is_laid_to_the_limit_only_near_it() -> None:
    assert showed_limit(95, 100)
    assert not showed_limit(50, 100)
    assert not showed_limit(10**12, 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("terminate called after throwing an instance of 'std::bad_alloc'", True),
        ("tensorflow...ResourceExhaustedError: {{function_node}} OOM when allocating", True),
        ("received: MemoryError: ", True),
        ("libgomp.so.1: cannot allocate memory in static TLS block", False),
        ("ValueError: Weight has another shape", False),
    ],
)
def test_log_that_speaks_of_memory_is_told_from_others(text: str, told: bool) -> None:
    assert says_memory(text) is told
