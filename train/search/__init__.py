"""Many trainings: hyper-parameter search and cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.train.search.folds import cross_validate
    from edgeward.train.search.space import read_space

__all__ = ["cross_validate", "read_space"]

__getattr__ = lazy_names(
    __name__,
    {
        "cross_validate": "edgeward.train.search.folds",
        "read_space": "edgeward.train.search.space",
    },
)
