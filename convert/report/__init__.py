"""What happened: data, HTML, Markdown, console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.report.report import ArtifactReport, ConversionReport

__all__ = ["ArtifactReport", "ConversionReport"]

__getattr__ = lazy_names(
    __name__,
    {
        "ArtifactReport": "edgeward.convert.report.report",
        "ConversionReport": "edgeward.convert.report.report",
    },
)
