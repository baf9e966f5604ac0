"""Turn a trained model into quantised artifacts that provably still work.

>>> from edgeward.convert import convert                                 # doctest: +SKIP
>>> report = convert("runs/mnist_cnn/001", variants=["int8"])            # doctest: +SKIP
>>> report.bundle                                                        # doctest: +SKIP
PosixPath('bundles/mnist_cnn')
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.convert.pipeline import convert
    from edgeward.convert.report.report import ArtifactReport, ConversionReport

__all__ = ["ArtifactReport", "ConversionReport", "convert"]

if __name__ == "convert":
    from edgeward.runtime.aliases import install

    install("convert")

# Lazy, so that --help works and a missing extra is named without SciPy or onnx installed.
__getattr__ = lazy_names(
    "edgeward.convert",
    {
        "ArtifactReport": "edgeward.convert.report.report",
        "ConversionReport": "edgeward.convert.report.report",
        "convert": "edgeward.convert.pipeline",
    },
)
