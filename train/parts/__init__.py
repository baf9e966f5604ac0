"""Blocks that recipes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.train.parts.common import image_input
    from edgeward.train.parts.gan import AdversarialLearner
    from edgeward.train.parts.losses import SmoothedCrossentropy
    from edgeward.train.parts.word_dropout import WordDropout

__all__ = ["AdversarialLearner", "SmoothedCrossentropy", "WordDropout", "image_input"]

__getattr__ = lazy_names(
    __name__,
    {
        "AdversarialLearner": "edgeward.train.parts.gan",
        "SmoothedCrossentropy": "edgeward.train.parts.losses",
        "WordDropout": "edgeward.train.parts.word_dropout",
        "image_input": "edgeward.train.parts.common",
    },
)
