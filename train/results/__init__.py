"""The run folder's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.train.results.write import write_run

__all__ = ["write_run"]

__getattr__ = lazy_names(
    __name__,
    {
        "write_run": "edgeward.train.results.write",
    },
)
