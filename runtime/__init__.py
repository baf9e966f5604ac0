"""Run an edgeward bundle on the device: numpy and one interpreter, no TensorFlow.

>>> from runtime import Predictor                                    # doctest: +SKIP
>>> predictor = Predictor.open("bundles/mnist_cnn")                  # doctest: +SKIP
>>> predictor.predict(raw_uint8_image).label                         # doctest: +SKIP
'7'
"""

from runtime.bundle import Bundle
from runtime.errors import EdgewardError
from runtime.manifest import Manifest
from runtime.predictor import Prediction, Predictor
from runtime.selftest import selftest

__all__ = ["Bundle", "EdgewardError", "Manifest", "Prediction", "Predictor", "selftest"]

__version__ = "0.1.0"
