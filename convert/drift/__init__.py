"""How far is an artifact from float, and is that too far?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.drift.gate import judge
    from edgeward.convert.drift.metrics import OutputDrift, measure_drift

__all__ = ["OutputDrift", "judge", "measure_drift"]

__getattr__ = lazy_names(
    __name__,
    {
        "OutputDrift": "edgeward.convert.drift.metrics",
        "judge": "edgeward.convert.drift.gate",
        "measure_drift": "edgeward.convert.drift.metrics",
    },
)
