"""Float weights that survive int8: equalised, fine-tuned. Only child processes import this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.weights.equalise import equalised
    from edgeward.convert.weights.qat import fine_tune

__all__ = ["equalised", "fine_tune"]

__getattr__ = lazy_names(
    __name__,
    {
        "equalised": "edgeward.convert.weights.equalise",
        "fine_tune": "edgeward.convert.weights.qat",
    },
)
