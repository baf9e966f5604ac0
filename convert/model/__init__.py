"""Load a model whose edges have names. Only child processes import this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.model.load import load_model
    from edgeward.convert.model.loaded import LoadedModel

__all__ = ["LoadedModel", "load_model"]

__getattr__ = lazy_names(
    __name__,
    {
        "LoadedModel": "edgeward.convert.model.loaded",
        "load_model": "edgeward.convert.model.load",
    },
)
