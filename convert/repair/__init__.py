"""Try other ways to make what missed its budget, choose on other samples, judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.repair.repair import Allowed, Repaired

__all__ = ["Allowed", "Repaired"]

__getattr__ = lazy_names(
    __name__,
    {
        "Allowed": "edgeward.convert.repair.repair",
        "Repaired": "edgeward.convert.repair.repair",
    },
)
