"""TensorFlow and Keras, set up before their first import; their absence is said with the cure."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

from edgeward.runtime.errors import MissingExtraError

__all__ = ["prepare_framework"]

_PACKAGES = {"tensorflow": "TensorFlow", "keras": "Keras", "matplotlib": "Matplotlib"}


def prepare_framework() -> None:
    """Make ``import tensorflow`` and ``import keras`` give what this package is written for.

    Raises:
        MissingExtraError: A package of the extra ``train`` is not installed.
    """
    for package, name in _PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(name, "train")
    # A user's KERAS_BACKEND=jax would give a model that TensorFlow cannot export.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    with _quiet_standard_error():
        import keras
        import tensorflow  # noqa: F401

    # --h5 asks for a legacy format; Keras' warning that it is one helps nobody.
    logging.getLogger("absl").setLevel(logging.ERROR)
    # ~/.keras/keras.json may say otherwise; converters and devices expect these.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Hold back what C++ writes to standard error; show it if the body fails.

    TensorFlow 2.21 greets with four lines before it reads TF_CPP_MIN_LOG_LEVEL.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
