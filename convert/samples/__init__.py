"""Which samples calibrate, choose and judge; leakage between them; golden vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.samples.calibration import choose_calibration
    from edgeward.convert.samples.golden import choose_golden
    from edgeward.convert.samples.leakage import find_leakage

__all__ = ["choose_calibration", "choose_golden", "find_leakage"]

__getattr__ = lazy_names(
    __name__,
    {
        "choose_calibration": "edgeward.convert.samples.calibration",
        "choose_golden": "edgeward.convert.samples.golden",
        "find_leakage": "edgeward.convert.samples.leakage",
    },
)
