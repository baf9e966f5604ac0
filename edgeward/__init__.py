"""Train a Keras model, convert it to quantised artifacts that provably still work, run it anywhere.

``edgeward.train``, ``edgeward.convert`` and ``edgeward.runtime`` are the three programs; importing
this package loads none of them.

>>> from edgeward import Predictor                                       # doctest: +SKIP
>>> Predictor.open("bundles/mnist_cnn").predict(image).label             # doctest: +SKIP
'7'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeward.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edgeward.runtime.predictor import Predictor

__all__ = ["Predictor", "__version__"]

__version__ = "0.1.0"

__getattr__ = lazy_names(__name__, {"Predictor": "edgeward.runtime.predictor"})
