"""Turn a trained model into quantised artifacts that provably still work.

>>> from convert import convert                                          # doctest: +SKIP
>>> report = convert("runs/mnist_cnn/001", variants=["int8"])            # doctest: +SKIP
>>> report.bundle                                                        # doctest: +SKIP
PosixPath('bundles/mnist_cnn')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convert.pipeline import convert
    from convert.report.report import ArtifactReport, ConversionReport

__all__ = ["ArtifactReport", "ConversionReport", "convert"]

_HOMES = {
    "ArtifactReport": "convert.report.report",
    "ConversionReport": "convert.report.report",
    "convert": "convert.pipeline",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that --help works and a missing extra is named without SciPy or onnx installed.
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(name)
