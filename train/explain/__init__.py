"""What decided an answer of the trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.train.explain.attribution import Attribution
    from edgeward.train.explain.write import write_explanations

__all__ = ["Attribution", "write_explanations"]

__getattr__ = lazy_names(
    __name__,
    {
        "Attribution": "edgeward.train.explain.attribution",
        "write_explanations": "edgeward.train.explain.write",
    },
)
