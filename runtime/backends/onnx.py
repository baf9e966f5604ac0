"""ONNX Runtime: the only file that imports ``onnxruntime``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidBundleError, InvalidDataError, TargetError, UsageError
from edgeward.runtime.manifest import Artifact, TensorSpec

__all__ = ["debug_session", "load"]


_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class OnnxBackend:
    """An ONNX Runtime session on the CPU, one thread."""

    def __init__(self, artifact: Artifact, data: bytes, runtime: str, kernels: str) -> None:
        self.runtime = runtime
        self.version = str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if kernels in ("reference", "no-delegate"):
            # Without graph optimisation a QDQ graph computes in float between its rounding steps.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        elif kernels != "default":
            raise UsageError("Unknown kernels.", received=kernels)
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its error classes are private and differ between versions
            raise TargetError(
                f"onnxruntime {self.version} cannot load {artifact.file}.",
                received=str(error).strip(),
                expected=f"a runtime that holds {dict(artifact.min_runtime)}",
                fix="install a newer onnxruntime, or choose another artifact with --artifact",
            ) from None
        self._inputs = _match(artifact.inputs, self._session.get_inputs(), artifact)
        self._outputs = _match(artifact.outputs, self._session.get_outputs(), artifact)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``Backend.run``."""
        feed = {tensor: inputs[name] for name, tensor in self._inputs.items()}
        try:
            values = self._session.run(list(self._outputs.values()), feed)
        except Exception as error:
            raise InvalidDataError("The inputs do not fit the model.", received=error) from None
        return dict(zip(self._outputs, values, strict=True))


def _match(tensors: tuple[TensorSpec, ...], nodes: list[Any], artifact: Artifact) -> dict[str, str]:
    by_name = {node.name: node for node in nodes}
    for tensor in tensors:
        node = by_name.get(tensor.tensor)
        shape = [] if node is None else [d if isinstance(d, int) else None for d in node.shape]
        if node is None or _DTYPES.get(node.type) != tensor.dtype or shape != list(tensor.shape):
            raise InvalidBundleError(
                f"{artifact.file} does not have the tensors that the manifest names.",
                received={name: (n.type, n.shape) for name, n in by_name.items()},
                expected={t.tensor: (t.dtype, t.shape) for t in tensors},
            )
    return {tensor.name: tensor.tensor for tensor in tensors}


def load(
    artifact: Artifact,
    data: bytes,
    distribution: str,
    module: str,  # noqa: ARG001 - one signature for every backend
    kernels: str,
) -> OnnxBackend:
    """Load an artifact; see ``runtime.backends.open_backend``."""
    return OnnxBackend(artifact, data, distribution, kernels)


def debug_session(data: bytes) -> Any:
    """Return a session that computes node by node, for the comparison layer by layer.

    Raises:
        TargetError: It cannot load the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its error classes are private and differ between versions
        raise TargetError(
            "onnxruntime cannot load this file.", received=str(error).strip()
        ) from None
