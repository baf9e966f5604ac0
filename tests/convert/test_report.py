"""The report: complete, self-contained, and true to the bundle."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

from runtime.bundle import Bundle


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
