"""What a kill leaves of a training, and how it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.train.unfinished.folder import PartialRun
    from edgeward.train.unfinished.resume import reopen
    from edgeward.train.unfinished.state import State

__all__ = ["PartialRun", "State", "reopen"]

__getattr__ = lazy_names(
    __name__,
    {
        "PartialRun": "edgeward.train.unfinished.folder",
        "State": "edgeward.train.unfinished.state",
        "reopen": "edgeward.train.unfinished.resume",
    },
)
