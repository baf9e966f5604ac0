"""The error of a refused conversion blames what was refused, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeward.convert.report.report import ArtifactReport, ConversionReport, refused

INT8 = ArtifactReport(
    id="tflite-int8",
    bundled=False,
    verdict="refused",
    reason="a drop of 3 points",
    size=1,
    size_ratio=None,
    batch="static",
    max_lsb=0,
    nodes=1,
    min_runtime={},
    drifts={},
    agreements={},
    unusable={},
)
DOUBTFUL = replace(INT8, id="onnx-int8", verdict="inconclusive", reason="too few samples")
REPORT = ConversionReport(
    name="net",
    run="net/001",
    bundle=None,
    release=None,
    budget=0.005,
    targets={},
    reproductions={},
    calibration={},
    artifacts=[replace(INT8, id="tflite-fp32", verdict="pass", reason=""), INT8, DOUBTFUL],
    not_made={},
    created_with={},
    seconds=1.0,
)


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
