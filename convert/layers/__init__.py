"""Where the signal is lost, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.layers.compare import compare_layers
    from edgeward.convert.layers.report import LayerReport

__all__ = ["LayerReport", "compare_layers"]

__getattr__ = lazy_names(
    __name__,
    {
        "LayerReport": "edgeward.convert.layers.report",
        "compare_layers": "edgeward.convert.layers.compare",
    },
)
