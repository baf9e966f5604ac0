"""Read a file back and say whether its name is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.artifact.lint import describe
    from edgeward.convert.artifact.locate import locate_ops

__all__ = ["describe", "locate_ops"]

__getattr__ = lazy_names(
    __name__,
    {
        "describe": "edgeward.convert.artifact.lint",
        "locate_ops": "edgeward.convert.artifact.locate",
    },
)
