"""Reports made by hand: of artifacts that nobody converted."""

from __future__ import annotations

from typing import Any

from edgeward.convert.report.report import ArtifactReport, ConversionReport

__all__ = ["artifact_report", "conversion_report"]


def artifact_report(name: str, verdict: str, **facts: Any) -> ArtifactReport:
    """The report of an artifact of which no more is known than what is given."""
    unknown: dict[str, Any] = {
        "bundled": False, "reason": "", "size": 1, "size_ratio": None, "batch": "static",
        "max_lsb": 0, "nodes": 1, "min_runtime": {}, "drifts": {}, "agreements": {}, "unusable": {},
    }  # fmt: skip
    return ArtifactReport(id=name, verdict=verdict, **{**unknown, **facts})


def conversion_report(artifacts: list[ArtifactReport], **facts: Any) -> ConversionReport:
    """The report of a conversion that bundled nothing."""
    unknown: dict[str, Any] = {
        "name": "net", "run": "net/001", "bundle": None, "release": None, "budget": 0.005,
        "targets": {}, "reproductions": {}, "calibration": {}, "not_made": {}, "created_with": {},
        "seconds": 1.0,
    }  # fmt: skip
    return ConversionReport(artifacts=artifacts, **{**unknown, **facts})
