"""What workers report arrives as data: what was exchanged for what, and what may be asked again."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeward.convert.settings import OLDEST
from edgeward.convert.worker import conversion as module
from edgeward.convert.worker import process
from edgeward.convert.worker.conversion import Conversion, convert_all
from edgeward.convert.worker.events import describe_error
from edgeward.convert.worker.isolate import isolated
from edgeward.convert.worker.job import Job
from edgeward.convert.worker.memory import is_transient, memory_error
from edgeward.runtime.errors import ConverterError, InvalidDataError, TargetError

WHY = "any words at all"

Converted = Callable[..., Conversion]


@pytest.fixture
def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Converted:
    """Convert with a worker that sends these events, and then dies of the error."""

    def call(*events: dict[str, Any], error: ConverterError | None = None) -> Conversion:
        def run_worker(*_: Any, on_event: Callable[..., None], **__: Any) -> dict[str, str]:
            for event in events:
                on_event(event)
            if error is not None:
                raise error
            return {}

        monkeypatch.setattr(module, "run_worker", run_worker)
        job = Job("m", "t", {}, [], {}, ["tflite-int8"], tolerant=True, switches=OLDEST)
        return convert_all(tmp_path, job, timeout=60, progress=lambda _: None)

    return call


def failed(error: TargetError) -> dict[str, Any]:
    return {"failed": "tflite-int8", **describe_error(error)}


def test_exchange_is_fields_and_a_note_for_people(converted: Converted) -> None:
    event = {"instead": "onnx-dynamic", "wanted": "onnx-int8", "why": WHY}
    note = f"onnx-dynamic instead of onnx-int8: {WHY}"
    found = converted(event)
    assert (found.instead, found.notes) == ({"onnx-dynamic": {"onnx-int8": note}}, [note])
    # The twin: the same words as a note of another kind exchange nothing.
    assert converted({"note": note}).instead == {}


@pytest.mark.parametrize("transient", [True, False])
def test_what_may_be_asked_again_is_what_the_error_says_and_never_its_words(
    converted: Converted, transient: bool
) -> None:
    words = "crashed, out of memory" if not transient else WHY
    error = ConverterError(words, received=None, transient=transient)
    for found in (
        converted(failed(error)),
        converted({"stage": "convert", "artifact": "tflite-int8"}, error=error),
    ):
        assert found.missing == {"tflite-int8": words}
        assert found.transient == ({"tflite-int8"} if transient else set())


def test_library_that_ran_out_of_memory_may_be_asked_again(converted: Converted) -> None:
    said = "RuntimeError: std::bad_alloc"
    assert converted(failed(TargetError(WHY, received=said))).transient == {"tflite-int8"}
    assert is_transient(memory_error("convert", 1, "seen"))
    assert not is_transient(TargetError("Out of memory."))


@pytest.mark.parametrize("error", [TargetError(WHY, transient=True), InvalidDataError(WHY)])
def test_errors_cross_processes_with_what_they_say(error: Any) -> None:
    event = {"error": type(error).__name__, **describe_error(error)}
    there = process._as_error(event, 0, "start")
    assert (type(there), there.transient) == (type(error), error.transient)
    assert pickle.loads(pickle.dumps(error)).transient is error.transient


def test_death_and_time_may_be_asked_again_and_what_a_function_raises_may_not() -> None:
    def refuse() -> None:
        raise TargetError(WHY)

    for function, arguments, transient in (
        (os.abort, (), True),
        (time.sleep, (60,), True),
        (refuse, (), False),
    ):
        with pytest.raises(TargetError) as caught:
            isolated("x", function, *arguments, timeout=0.5)
        assert caught.value.transient is transient
