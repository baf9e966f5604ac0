"""The seam between edgeward and an interpreter: one protocol, one file for each library.

A backend gets the checked bytes of an artifact and runs arrays through it; it knows nothing of
preprocessing, quantisation or bundles.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Protocol

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import MissingExtraError, UsageError
from edgeward.runtime.manifest import Artifact

__all__ = ["BACKENDS", "Backend", "available_backends", "open_backend"]


# Backend name -> (distribution, module to import, our file, format, extra), in order of
# preference: LiteRT is maintained and runs with numpy 2, tflite-runtime is what devices have.
BACKENDS: dict[str, tuple[str, str, str, str, str]] = {
    "litert": ("ai-edge-litert", "ai_edge_litert", "tflite", "tflite", "litert"),
    "tflite": ("tflite-runtime", "tflite_runtime", "tflite", "tflite", "tflite"),
    "onnx": ("onnxruntime", "onnxruntime", "onnx", "onnx", "onnx"),
}


class Backend(Protocol):
    """One loaded artifact in one interpreter.

    Attributes:
        runtime: Distribution name of the interpreter, e.g. ``tflite-runtime``.
        version: Its version.
    """

    runtime: str
    version: str

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch.

        Args:
            inputs: Input name (of the manifest) -> ``[B, ...]`` in the artifact's own dtype. B is 1
                unless the artifact is ``resizable``.

        Returns:
            Output name -> ``[B, ...]`` in the artifact's own dtype.
        """
        ...


def available_backends(format_: str) -> list[str]:
    """Return the names of the installed backends for ``tflite`` or ``onnx``, best first."""
    return [
        name
        for name, (_, module, _, holds, _) in BACKENDS.items()
        if holds == format_ and importlib.util.find_spec(module) is not None
    ]


def open_backend(
    artifact: Artifact, data: bytes, name: str | None = None, *, kernels: str = "default"
) -> Backend:
    """Load an artifact.

    Args:
        artifact: Its description.
        data: Its checked bytes.
        name: ``litert``, ``tflite`` or ``onnx``; None takes the first installed that fits.
        kernels: ``default``; ``reference`` for the slow kernels that define the result; for TFLite
            also ``no-delegate``, without the delegate that an interpreter takes by itself (the
            last two are used to measure how far kernels differ).

    Raises:
        MissingExtraError: No interpreter for this format is installed.
        UsageError: The backend is unknown or cannot run this format.
    """
    if artifact.format not in ("tflite", "onnx"):
        raise UsageError(
            "This artifact is not run by an interpreter.",
            received=artifact.id,
            expected="a tflite or onnx artifact",
        )
    installed = available_backends(artifact.format)
    if name is None:
        if not installed:
            extra = "onnx" if artifact.format == "onnx" else "litert"
            raise MissingExtraError(f"No interpreter for {artifact.format}", extra)
        name = installed[0]
    if name not in BACKENDS or BACKENDS[name][3] != artifact.format:
        raise UsageError(
            f"This backend cannot run {artifact.id}.",
            received=name,
            expected=[n for n, entry in BACKENDS.items() if entry[3] == artifact.format],
        )
    distribution, module, file, _, extra = BACKENDS[name]
    if name not in installed:
        raise MissingExtraError(distribution, extra)
    adapter = importlib.import_module(f"edgeward.runtime.backends.{file}")
    backend: Backend = adapter.load(artifact, data, distribution, module, kernels)
    return backend
