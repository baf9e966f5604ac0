"""What the next conversion knows: whether it answers at once follows from data, not from words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgeward.convert.bundle.contents import record_of
from edgeward.convert.bundle.reuse import Record
from edgeward.convert.worker.conversion import Conversion


def seen(*, transient: bool) -> Any:
    artifact = SimpleNamespace(id="onnx-dynamic", sha256="0" * 64, stateful=False)
    return SimpleNamespace(artifact=artifact, transient=transient)


REASONS = ("the format has no such op", "the converter crashed", "no memory, out of time")


def record(conversion: Conversion, *attempts: str, layers: bool = True) -> Record:
    measured = [seen(transient=not layers)]
    return record_of("asked", conversion, measured, attempts, lambda name: "key")


@pytest.mark.parametrize("reason", REASONS)
def test_request_is_remembered_unless_asking_again_may_give_more(reason: str) -> None:
    missing = {"tflite-int8": reason}
    assert record(Conversion(missing=missing)).request == "asked"
    # The twins: the same words, and the artifact, or an attempt of repair, may be made next time.
    assert record(Conversion(missing=missing, transient={"tflite-int8"})).request == ""
    assert record(Conversion(missing=missing), "tflite-int8.calibration.1").request == ""
    assert record(Conversion(missing=missing), layers=False).request == ""


def test_exchange_is_remembered_with_its_note() -> None:
    conversion = Conversion()
    conversion.exchange("onnx-dynamic", "onnx-int8", "any words at all")
    kept = record(conversion).artifacts["onnx-dynamic"]
    assert kept.instead == {"onnx-int8": "any words at all"}
    # The twin: a note that only reads like one exchanges nothing.
    noted = Conversion(notes=["onnx-dynamic instead of onnx-int8: why"])
    assert record(noted).artifacts["onnx-dynamic"].instead == {}
