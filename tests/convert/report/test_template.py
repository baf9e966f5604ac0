"""The Markdown report is the same byte for byte, and its template is filled only when asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jinja2 import UndefinedError
from reports import artifact_report, conversion_report
from support import REPOSITORY, RunPython

from edgeward.convert.drift.agreement import Agreement
from edgeward.convert.drift.metrics import OutputDrift
from edgeward.convert.measure.records import ParityRow
from edgeward.convert.repair.step import RepairStep
from edgeward.convert.report.report import ArtifactReport
from edgeward.convert.report.template import render


def drift(verdict: str, output: str = "digit", drop: float = 0.001) -> OutputDrift:
    return OutputDrift(
        output=output, task="classification", metric="accuracy", reference=0.98,
        value=0.98 - drop, drop=drop, upper_bound=2 * drop, budget=0.005, samples=2000,
        verdict=verdict,
    )  # fmt: skip


def artifact(name: str, verdict: str, drifts: list[OutputDrift], **others: Any) -> ArtifactReport:
    unverified = Agreement("angle", "regression", 2000, 40.0, 0.1, None)
    ran = {"drifts": {"x 1": drifts}, "agreements": {"x 1": [unverified]}}
    return artifact_report(name, verdict, size=12345, **ran, **others)


WHOLE = conversion_report(
    name="my_net",
    run="my_net/001",
    artifacts=[
        artifact(
            "tflite-fp32", "pass", [drift("pass", drop=0)], size_ratio=1.0,
            min_runtime={"tflite": "1.5", "tflite-micro": "0.1"}, latency={"x 1": 12.34, "y": 9e3},
        ),
        artifact("tflite-int8", "refused", [drift("refused")], instead="tflite-fp16"),
        artifact(
            "onnx-int8", "refused", [drift("pass"), drift("refused", "side")], size_ratio=0.25,
            reason="layer a_b keeps 5 dB", repaired="mse ranges",
        ),
    ],
    not_made={"onnx-int16x8": "onnx has <none>"},
    notes=["", "said @someone"],
    repair=[
        RepairStep("a", "a", "mse", "validation", "refused", 9, [drift("refused")], ""),
        RepairStep("b", "b", "mse", "validation", "failed", None, [], "no memory"),
        RepairStep("a", "c", "fp16", "test", "pass", 9, [drift("pass")], "", taken=True),
    ],
    parity=[
        ParityRow("tflite-int8", "x 1", "default", 2000, 1234, 0.125, 3),
        ParityRow("onnx-int8", "y", "reference", 0, None, 0.0, None, "crashed"),
    ],
    reused=["tflite-fp32"],
)  # fmt: skip

GOLDEN = REPOSITORY / "tests" / "golden" / "report.md"


def test_whole_report_is_the_same_byte_for_byte() -> None:
    assert WHOLE.to_markdown() == GOLDEN.read_text(encoding="utf-8")
    # The twin: an artifact less is seen.
    assert replace(WHOLE, artifacts=WHOLE.artifacts[1:]).to_markdown() != GOLDEN.read_text()


def test_parts_that_say_nothing_leave_no_gap() -> None:
    bare = replace(WHOLE, artifacts=[], not_made={}, notes=[], repair=[], parity=[], reused=[])
    text = bare.to_markdown()
    assert text.startswith("### edgeward: my\\_net: within budget\n\nfrom my\\_net/001 · nothing")
    assert text.endswith("on the machine that converted.\n")
    assert "\n\n\n" not in text
    nowhere = replace(WHOLE, parity=WHOLE.parity[1:]).to_markdown()
    assert "largest difference 0 LSB in 0 of 1 rows that ran" in nowhere


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'md' is undefined"):
        render("report.md.j2", report=WHOLE)


def test_templates_are_read_only_when_a_report_is_shown(run_python: RunPython) -> None:
    module = "edgeward.convert.report.markdown"
    script = f"import sys, {module} as m; from edgeward.runtime.errors import UsageError; "
    told = "print(m.error_to_markdown(UsageError('no'))[:12], 'jinja2' in sys.modules)"
    assert run_python("-c", script + told).stdout == "### edgeward False\n"
    # The twin.
    shown = "from edgeward.convert.report.template import render; render('report.md.j2')"
    failed = run_python("-c", script + shown)
    assert "jinja2" in failed.stderr
