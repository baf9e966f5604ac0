"""What a TFLite or ONNX file answers, and how far that is from what it should."""

from __future__ import annotations

import numpy as np

from edgeward.convert.artifact.lint import describe
from edgeward.convert.measure.measure import describe_artifact
from edgeward.runtime.arrays import Array
from edgeward.runtime.backends import open_backend

__all__ = ["answers", "sqnr"]


def answers(artifact_id: str, data: bytes, x: Array, output: str) -> Array:
    """Return one output of a file for a batch of its only input ``x``."""
    artifact = describe_artifact(
        artifact_id, "a.bin", data, describe(artifact_id, data, None), stateful=False
    )
    return open_backend(artifact, data).run({"x": x})[output]


def sqnr(found: Array, expected: Array) -> float:
    """Return the ratio of signal to noise in dB, by another way than ``convert.drift``."""
    return float(10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum()))
