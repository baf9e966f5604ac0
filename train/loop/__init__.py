"""The one training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.train.loop.devices import choose_device
    from edgeward.train.loop.learner import SupervisedLearner
    from edgeward.train.loop.session import Session

__all__ = ["Session", "SupervisedLearner", "choose_device"]

__getattr__ = lazy_names(
    __name__,
    {
        "Session": "edgeward.train.loop.session",
        "SupervisedLearner": "edgeward.train.loop.learner",
        "choose_device": "edgeward.train.loop.devices",
    },
)
