"""The error of a refused conversion blames what was refused, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from reports import artifact_report, conversion_report

from edgeward.convert.layers.report import LayerDrift, LayerReport
from edgeward.convert.report.report import refused

INT8 = artifact_report("tflite-int8", "refused", reason="a drop of 3 points")
DOUBTFUL = artifact_report("onnx-int8", "inconclusive", reason="too few samples")
REPORT = conversion_report([artifact_report("tflite-fp32", "pass"), INT8, DOUBTFUL])


def test_accepted_inconclusive_artifact_is_not_blamed() -> None:
    error = refused(REPORT, Path("report.html"), allow_inconclusive=True)
    assert error.message == "tflite-int8: refused."
    assert "onnx-int8" not in str(error)
    assert error.report is REPORT
    # The twin: where it was not accepted, it is to blame as well.
    both = refused(REPORT, Path("report.html"))
    assert both.message == "tflite-int8, onnx-int8: inconclusive and refused."
    assert "too few samples" in str(both)


def test_advice_depends_on_what_is_wrong() -> None:
    only = replace(REPORT, artifacts=[DOUBTFUL])
    assert "--allow-inconclusive" in str(refused(only, Path("r")).fix)
    assert "--max-drop" in str(refused(REPORT, Path("r")).fix)


@pytest.mark.parametrize(
    ("op", "tuning"),
    [("FULLY_CONNECTED", True), ("TANH", False), ("UNIDIRECTIONAL_SEQUENCE_LSTM", False)],
)
def test_fine_tuning_is_not_advised_against_steps_that_an_op_fixes(
    op: str, *, tuning: bool
) -> None:
    lost = LayerDrift(
        *("a", "memory", op, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 0.0, 255, 2), cause="too small"
    )
    lossy = replace(INT8, layers=LayerReport([lost], matched=1, tensors=1, samples=24))
    error = refused(replace(REPORT, artifacts=[lossy]), Path("report.html"))
    assert ("--qat" in str(error)) is tuning
    assert "--fallback" in str(error)
