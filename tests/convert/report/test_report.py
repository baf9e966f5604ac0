"""The report: complete, self-contained, and true to the bundle."""

from __future__ import annotations

import html.parser
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import RunPython

from edgeward.convert.report.html import spread
from edgeward.convert.report.words import show_time
from edgeward.runtime.bundle import Bundle


class Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_html_is_one_file_without_scripts_or_links(bundle: Path) -> None:
    links = Links()
    links.feed((bundle / "report.html").read_text())
    assert links.found
    assert all(link.startswith("data:image/svg+xml;base64,") for link in links.found)
    assert "script" not in links.tags
    assert "link" not in links.tags


def test_html_shows_every_artifact_with_its_numbers(bundle: Path) -> None:
    text = re.sub(r"<[^>]+>", " ", (bundle / "report.html").read_text())
    for artifact in Bundle.open(bundle).manifest.artifacts:
        (drift,) = artifact.drift
        assert artifact.id in text
        assert f"{artifact.size:,}" in text
        assert f"{100 * drift.value:.2f} %" in text
        assert f"{100 * drift.upper_bound:.3f}" in text


def test_json_agrees_with_the_manifest(bundle: Path) -> None:
    report = json.loads((bundle / "report.json").read_text())
    manifest = Bundle.open(bundle).manifest
    assert report["release"] == manifest.release
    assert [a["id"] for a in report["artifacts"]] == [a.id for a in manifest.artifacts]
    for entry, artifact in zip(report["artifacts"], manifest.artifacts, strict=True):
        (drift,) = artifact.drift
        worst = max((d[0] for d in entry["drifts"].values()), key=lambda d: d["upper_bound"])
        assert (worst["value"], worst["upper_bound"]) == (drift.value, drift.upper_bound)
        assert entry["bundled"]
        assert entry["max_lsb"] == artifact.max_lsb


def test_report_names_no_folder_of_this_machine(bundle: Path) -> None:
    for name in ("report.html", "report.json", "manifest.json"):
        assert str(Path.home()) not in (bundle / name).read_text()
        assert str(bundle.parent) not in (bundle / name).read_text()


def untold(text: str, report: dict[str, Any]) -> list[str]:
    """Artifacts whose latency on this machine the report's text does not tell."""
    return [
        artifact["id"]
        for artifact in report["artifacts"]
        if not artifact["latency"] or show_time(min(artifact["latency"].values())) not in text
    ]


def test_latency_of_each_artifact_is_told_with_the_runtime(bundle: Path) -> None:
    report = json.loads((bundle / "report.json").read_text())
    text = (bundle / "report.html").read_text()
    assert untold(text, report) == []
    for artifact in report["artifacts"]:
        assert set(artifact["latency"]) == set(artifact["drifts"])
        assert all(0.5 < us < 1e5 for us in artifact["latency"].values())
    # The twin: a report that lost one is noticed.
    report["artifacts"][0]["latency"] = {}
    assert untold(text, report) == [report["artifacts"][0]["id"]]


def test_names_in_a_plot_keep_apart_and_stay_near_their_points() -> None:
    heights = [0.0, 1.0, 2.0, 50.0, 120.0]
    placed = spread(heights, 11.0)
    gaps = [b - a for a, b in itertools.pairwise(placed)]
    assert min(gaps) >= 11 - 1e-9
    assert placed[3:] == heights[3:]
    assert sum(placed[:3]) == pytest.approx(sum(heights[:3]))
    # The twin: where the points lie, the names would cover each other.
    assert min(b - a for a, b in itertools.pairwise(heights)) < 11


def test_reading_a_report_imports_no_statistics_and_no_interpreter(run_python: RunPython) -> None:
    light = "edgeward.convert.bundle.reuse, edgeward.convert.report.markdown"
    heavy = "{m for m in ('scipy', 'onnx', 'onnxruntime', 'tensorflow') if m in sys.modules}"
    done = run_python("-c", f"import sys, {light}; print({heavy})")
    assert done.stdout == "set()\n", done.stderr
    # The twin: judging does.
    judge = "from edgeward.convert.drift import gate; gate.judge(gate.PairedCounts(9, 0, 0), 0.5)"
    assert "scipy" in run_python("-c", f"import sys; {judge}; print({heavy})").stdout
