"""What is converted: a run, or a user's model with the user's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.source.open import open_source
    from edgeward.convert.source.source import Source

__all__ = ["Source", "open_source"]

__getattr__ = lazy_names(
    __name__,
    {
        "Source": "edgeward.convert.source.source",
        "open_source": "edgeward.convert.source.open",
    },
)
