"""Run every artifact in every runtime, pair by pair with the float model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.measure.bench import Bench, measure_all
    from edgeward.convert.measure.measure import Measured

__all__ = ["Bench", "Measured", "measure_all"]

__getattr__ = lazy_names(
    __name__,
    {
        "Bench": "edgeward.convert.measure.bench",
        "Measured": "edgeward.convert.measure.measure",
        "measure_all": "edgeward.convert.measure.bench",
    },
)
