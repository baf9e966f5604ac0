"""The error of a refused conversion blames what was refused, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from reports import artifact_report, conversion_report

from edgeward.convert.drift.metrics import OutputDrift
from edgeward.convert.layers.report import LayerDrift, LayerReport
from edgeward.convert.measure.records import Parting
from edgeward.convert.report.console import print_report
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


PASSED = OutputDrift(
    output="digit",
    task="classification",
    metric="accuracy",
    reference=0.99,
    value=0.99,
    drop=0.0,
    upper_bound=0.001,
    budget=0.005,
    samples=1000,
    verdict="pass",
)
PARTED = Parting(("litert 2.3.0", "tflite-runtime 2.14.0"), ("litert", "tflite"), 254, ("zeros",))


@pytest.mark.parametrize("parting", [PARTED, None], ids=["parted", "the twin"])
def test_an_artifact_on_which_runtimes_part_passes_in_no_report(
    parting: Parting | None, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = artifact_report(
        "tflite-int8",
        "pass" if parting is None else "refused",
        reason="" if parting is None else parting.sentence,
        drifts={"litert 2.3.0": [PASSED]},
        parting=parting,
        bundled=parting is None,
    )
    calibration = {"samples": 500, "source": "run", "suspicions": []}
    report = conversion_report([artifact], calibration=calibration)
    expected = "pass" if parting is None else "**refused**"
    rows = [
        line for line in report.to_markdown().splitlines() if line.startswith("| `tflite-int8`")
    ]
    assert f" {expected} |" in rows[0]
    html = report.to_html().decode()
    table = html[html.index('<th class="left">verdict') :]
    assert table.index(f">{'pass' if parting is None else 'refused'}<") < table.index("</table>")
    print_report(report)
    printed = capsys.readouterr().out
    assert ("refused" in printed) == (parting is not None)
    assert ("differ by 254 LSB" in printed) == (parting is not None)
