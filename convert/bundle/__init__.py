"""Write a bundle, remember how it was made, reuse it, export it to Android."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.bundle.android import export_assets
    from edgeward.convert.bundle.reuse import recall, take_over
    from edgeward.convert.bundle.write import write_bundle

__all__ = ["export_assets", "recall", "take_over", "write_bundle"]

__getattr__ = lazy_names(
    __name__,
    {
        "export_assets": "edgeward.convert.bundle.android",
        "recall": "edgeward.convert.bundle.reuse",
        "take_over": "edgeward.convert.bundle.reuse",
        "write_bundle": "edgeward.convert.bundle.write",
    },
)
