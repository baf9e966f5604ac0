"""A function in a process of its own: its answer, its error and its death come back."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from edgeward.convert.worker import isolate
from edgeward.convert.worker.isolate import isolated
from edgeward.runtime.errors import InvalidDataError, MissingExtraError, TargetError


def test_answers_come_back_and_nothing_else_changes() -> None:
    seen: list[int] = []

    def work(values: np.ndarray) -> np.ndarray:
        seen.append(os.getpid())
        return values * 2

    np.testing.assert_array_equal(isolated("x", work, np.arange(3)), [0, 2, 4])
    assert seen == []


@pytest.mark.parametrize(
    "error",
    [InvalidDataError("Bad.", received=1, expected=2, fix="f"), MissingExtraError("X", "onnx")],
)
def test_errors_come_back_as_themselves(error: Exception) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        isolated("x", work)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


@pytest.mark.parametrize("die", [os.abort, lambda: os._exit(0)])
def test_death_is_an_error_that_names_the_work(die: object) -> None:
    with pytest.raises(TargetError, match="crashed: measuring tflite-int8"):
        isolated("measuring tflite-int8", die)


def test_function_that_hangs_is_killed_and_named_with_the_option() -> None:
    started = time.monotonic()
    with pytest.raises(TargetError, match="out of time: measuring tflite-int8") as caught:
        isolated("measuring tflite-int8", time.sleep, 60, timeout=0.3)
    assert time.monotonic() - started < 10
    assert "--timeout" in str(caught.value)
    # The twin: with the time it needs, the same function returns.
    assert isolated("x", time.sleep, 0.1, timeout=30) is None


def test_function_that_takes_too_much_memory_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolate, "default_memory", lambda: 64 * 2**20)
    with pytest.raises(TargetError, match="out of memory: measuring tflite-int8") as caught:
        isolated("measuring tflite-int8", lambda: len(np.ones(512 * 2**20, np.uint8)))
    assert caught.value.transient
    assert "--memory GB" in str(caught.value)
    # The twins: less, and where nobody knows what there is.
    assert isolated("x", lambda: len(np.ones(8 * 2**20, np.uint8))) == 8 * 2**20
    monkeypatch.setattr(isolate, "default_memory", lambda: 0)
    assert isolated("x", lambda: len(np.ones(512 * 2**20, np.uint8))) == 512 * 2**20


def test_limit_that_is_given_counts_and_zero_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> int:
        return len(np.ones(512 * 2**20, np.uint8))

    monkeypatch.setattr(isolate, "default_memory", lambda: 2**40)
    with pytest.raises(TargetError, match="out of memory: x"):
        isolated("x", work, memory=64 * 2**20)
    # The twins: no limit, where the default would be too little, and the default.
    assert isolated("x", work) == 512 * 2**20
    monkeypatch.setattr(isolate, "default_memory", lambda: 64 * 2**20)
    assert isolated("x", work, memory=0) == 512 * 2**20


def test_error_without_limit_names_no_option() -> None:
    def fail() -> None:
        raise MemoryError

    with pytest.raises(TargetError, match="a machine with more memory") as caught:
        isolated("x", fail, memory=0)
    assert "--memory" not in str(caught.value)
