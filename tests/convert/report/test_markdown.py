"""The report for a pull request: complete, true, and harmless in GitHub's Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from edgeward.convert import cli
from edgeward.convert.bundle.reuse import open_shelves, read_back, recall
from edgeward.convert.measure.records import ParityRow
from edgeward.convert.options import Options
from edgeward.convert.repair.step import RepairStep
from edgeward.convert.report.markdown import error_to_markdown, escape, to_markdown
from edgeward.convert.report.report import ConversionReport
from edgeward.runtime.errors import InvalidDataError, RefusedError

MARKDOWN = MarkdownIt("commonmark").enable("table")
HOSTILE = "a|b `c` <b>d</b> [e](http://f) @g #1 *h*\n| i"


@pytest.fixture(scope="module")
def report(bundle: Path) -> ConversionReport:
    """The report of the shared bundle, read back."""
    value = json.loads((bundle / "report.json").read_text())
    value.pop("reuse")
    report = read_back(ConversionReport, value)
    assert report is not None
    return report


def refuse(report: ConversionReport) -> ConversionReport:
    """The same report, had int8 lost two layers' worth of accuracy in every runtime."""
    (name, *_) = (a.id for a in report.artifacts if a.id.endswith("int8"))
    artifacts = []
    for a in report.artifacts:
        drifts = {
            runtime: [replace(d, value=0.5, drop=0.4, upper_bound=0.43, verdict="refused")
                      for d in of_runtime]
            for runtime, of_runtime in a.drifts.items()
        }  # fmt: skip
        artifacts.append(
            replace(a, drifts=drifts, verdict="refused", bundled=False,
                    reason="layer conv|1 (CONV_2D) keeps 5.0 dB")
            if a.id == name else a
        )  # fmt: skip
    return replace(report, bundle=None, release=None, artifacts=artifacts)


def rows(text: str) -> list[list[str]]:
    """The cells of the first table, as GitHub would show them."""
    html = MARKDOWN.render(text).split("<table>")[1].split("</table>")[0]
    lines = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)]
        for line in lines
    ]


def wrong(text: str, report: ConversionReport) -> Sequence[str]:
    """What of a report its Markdown does not tell."""
    head, *body = rows(text)
    found = [] if [len(row) for row in body] == [len(head)] * len(body) else ["cells"]
    told = {row[0]: row for row in body}
    for artifact in report.artifacts:
        row = told.get(artifact.id, [])
        (drift,) = artifact.worst
        if not {f"{artifact.size:,}", f"{100 * drift.upper_bound:.3f} pt", drift.verdict} <= {*row}:
            found.append(artifact.id)
    return found


def test_table_shows_every_artifact_with_its_numbers(report: ConversionReport) -> None:
    text = report.to_markdown()
    assert wrong(text, report) == []
    assert ": within budget\n" in text
    assert re.search(r"\d µs, (ai-edge-litert|tflite-runtime) \d", text)
    # The twin: a table that lost an artifact, or tells another number, is seen.
    lines = text.splitlines()
    without = [line for line in lines if not line.startswith("| `onnx-int8`")]
    assert wrong("\n".join(without), report) == ["onnx-int8"]
    assert "tflite-int8" in wrong(text, refuse(report))


def test_refused_artifact_comes_with_its_reason(report: ConversionReport) -> None:
    refused = refuse(report)
    text = refused.to_markdown()
    assert text.startswith("### edgeward: mnist\\_cnn: refused: `tflite-int8`\n")
    assert "nothing was bundled" in text
    assert "| `tflite-int8` | **refused** |" in text
    assert "layer conv|1 (CONV_2D) keeps 5.0 dB" in MARKDOWN.render(text)
    assert "refused" not in report.to_markdown()


def test_repair_is_told_in_one_line_and_its_steps_are_folded(report: ConversionReport) -> None:
    drift = report.artifacts[0].worst[0]
    step = RepairStep(
        "tflite-int8", "tflite-int8", "mse ranges", "validation", "refused", 9, [drift], ""
    )
    taken = replace(step, artifact="tflite-int8-mixed", samples="test", verdict="pass", taken=True)
    artifacts = [replace(report.artifacts[1], repaired="mse ranges"), *report.artifacts[2:]]
    text = replace(report, artifacts=artifacts, repair=[step, taken]).to_markdown()
    (brief, folded) = text.split("<details>")[:2]
    assert "`tflite-int8` → `tflite-int8-mixed`: mse ranges: test **pass**" in brief
    assert "the last of 2 steps" in brief
    assert "mse ranges: validation **refused**" in folded
    assert "(repaired)" in text
    failed = replace(report, repair=[step])
    assert "1 tried, none of them enough" in failed.to_markdown()


ROWS = [
    ParityRow("tflite-int8", "ai-edge-litert 2.1", "default", 200, 0, 0.0, 0),
    ParityRow("tflite-int8", "tflite-runtime 2.14", "reference", 200, 1234, 0.125, 3),
    ParityRow("onnx-int8", HOSTILE, "default", 0, None, 0.0, None, f"crashed: {HOSTILE}"),
    ParityRow("tflite-fp32", "armv7", "against x", 100, 2, 0.5, None, "max_lsb | exceeded"),
]


def test_parity_is_told_row_by_row(report: ConversionReport) -> None:
    assert "Parity" not in report.to_markdown()
    text = replace(report, parity=ROWS).to_markdown()
    assert wrong(text, report) == []
    assert "largest difference 1,234 LSB in 3 of 4 rows that ran" in text
    (folded,) = [part for part in text.split("<details>") if part.startswith("<summary>Parity")]
    head, *body = rows(folded)
    assert head == [
        *("artifact", "runtime or device", "kernels", "samples", "largest LSB", "differing"),
        *("flips", "detail"),
    ]
    assert body[0] == [
        "tflite-int8",
        "ai-edge-litert 2.1",
        "default",
        "200",
        "0",
        "0.00 %",
        "0",
        "",
    ]
    assert body[1][3:] == ["200", "1,234", "12.50 %", "3", ""]
    assert body[2][0] == "onnx-int8"
    assert body[2][3:7] == ["0", "does not run", "–", "–"]
    assert body[2][7].startswith("crashed: a|b")
    assert body[3][6:] == ["–", "max_lsb | exceeded"]
    assert [len(row) for row in body] == [8] * 4
    # The twin: a row that is missing is seen.
    assert len(rows(replace(report, parity=ROWS[:3]).to_markdown().split("<details>")[-1])) < 5


def test_names_of_others_cannot_break_out(report: ConversionReport) -> None:
    artifacts = [replace(a, reason=HOSTILE, repaired=HOSTILE) for a in report.artifacts]
    text = to_markdown(
        replace(report, name=HOSTILE, run=HOSTILE, artifacts=artifacts, notes=[HOSTILE],
                not_made={"onnx-int16x8": HOSTILE})
    )  # fmt: skip
    html = MARKDOWN.render(text)
    assert html.count("<table>") == 1
    for markup in ("<b>", "<a ", "<em>h"):
        assert markup not in html
    # GitHub makes mentions and links of plain text; a comment in between keeps them apart.
    assert not re.search(r"@\w|#\d|\w://", text)
    assert "a|b `c` &lt;b&gt;d&lt;/b&gt;" in html
    # The twin: the same text, not escaped, does all of that.
    raw = MARKDOWN.render(HOSTILE)
    assert "<a " in raw
    assert "<em>h" in raw
    assert escape("plain text, 1.5 % (of it)") == "plain text, 1.5 % (of it)"


def test_error_without_a_report_is_told_too() -> None:
    error = InvalidDataError("Wrong shape.", received="(28, 28)", expected="a | b", fix="look")
    text = error_to_markdown(error)
    assert "nothing was converted" in text
    assert "- received: (28, 28)" in text
    assert "- expected: a \\| b" in text


@pytest.mark.parametrize("refusal", [False, True])
def test_command_line_prints_markdown_and_nothing_else(
    refusal: bool,
    report: ConversionReport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = refuse(report) if refusal else report

    def convert_as(_: Options) -> ConversionReport:
        if refusal:
            error = RefusedError("no")
            error.report = told
            raise error
        return told

    monkeypatch.setattr("edgeward.convert.pipeline.convert_as", convert_as)
    assert cli.main(["--int8", "--markdown"]) == (3 if refusal else 0)
    assert capsys.readouterr().out == told.to_markdown()


def test_command_line_tells_what_was_wrong_with_the_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main([str(tmp_path / "no-such-run"), "--int8", "--markdown"]) == 5
    assert capsys.readouterr().out.startswith("### edgeward: nothing was converted\n")
    # Without the option an error prints nothing where results go.
    assert cli.main([str(tmp_path / "no-such-run"), "--int8"]) == 5
    assert capsys.readouterr().out == ""


def test_markdown_and_json_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(["--int8", "--markdown", "--json"])
    assert raised.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_report_that_is_recalled_gives_the_same_table(bundle: Path) -> None:
    shelves, _ = open_shelves(bundle)
    (shelf,) = (s for s in shelves if s.folder == bundle)
    known = recall(bundle, shelf.record.request, shelves)
    assert known is not None
    text = known.to_markdown()
    assert wrong(text, known) == []
    assert "the last conversion was reused" in text
