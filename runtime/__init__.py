"""Run an edgeward bundle on the device: numpy and one interpreter, no TensorFlow.

>>> from edgeward.runtime import Predictor                           # doctest: +SKIP
>>> predictor = Predictor.open("bundles/mnist_cnn")                  # doctest: +SKIP
>>> predictor.predict(raw_uint8_image).label                         # doctest: +SKIP
'7'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.runtime.bundle import Bundle
    from edgeward.runtime.errors import EdgewardError
    from edgeward.runtime.manifest import Manifest
    from edgeward.runtime.predictor import Prediction, Predictor
    from edgeward.runtime.self_test import selftest

__all__ = ["Bundle", "EdgewardError", "Manifest", "Prediction", "Predictor", "selftest"]

if __name__ == "runtime":
    from edgeward.runtime.aliases import install

    install("runtime")

__getattr__ = lazy_names(
    "edgeward.runtime",
    {
        "Bundle": "edgeward.runtime.bundle",
        "EdgewardError": "edgeward.runtime.errors",
        "Manifest": "edgeward.runtime.manifest",
        "Prediction": "edgeward.runtime.predictor",
        "Predictor": "edgeward.runtime.predictor",
        "selftest": "edgeward.runtime.self_test",
    },
)
