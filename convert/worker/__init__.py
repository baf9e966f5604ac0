"""Child processes: what they get to do, their limits, and how they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.worker.conversion import Conversion, convert_all
    from edgeward.convert.worker.isolate import isolated
    from edgeward.convert.worker.job import Job

__all__ = ["Conversion", "Job", "convert_all", "isolated"]

__getattr__ = lazy_names(
    __name__,
    {
        "Conversion": "edgeward.convert.worker.conversion",
        "Job": "edgeward.convert.worker.job",
        "convert_all": "edgeward.convert.worker.conversion",
        "isolated": "edgeward.convert.worker.isolate",
    },
)
