"""Model to bytes, one file for each format. Only child processes import this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.export.exporter import Exporter

__all__ = ["Exporter"]

__getattr__ = lazy_names(
    __name__,
    {
        "Exporter": "edgeward.convert.export.exporter",
    },
)
