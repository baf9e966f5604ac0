"""What each runtime registers, and the remedy where an artifact does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.targets.target import Target, choose_targets, min_runtimes

__all__ = ["Target", "choose_targets", "min_runtimes"]

__getattr__ = lazy_names(
    __name__,
    {
        "Target": "edgeward.convert.targets.target",
        "choose_targets": "edgeward.convert.targets.target",
        "min_runtimes": "edgeward.convert.targets.target",
    },
)
