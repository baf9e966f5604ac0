"""LiteRT and tflite-runtime: no other file imports ``ai_edge_litert`` or ``tflite_runtime``."""

from __future__ import annotations

import importlib
import importlib.metadata
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidBundleError, InvalidDataError, TargetError, UsageError
from edgeward.runtime.manifest import Artifact, TensorSpec

__all__ = ["debug_interpreter", "load"]


class TfliteBackend:
    """A TFLite interpreter for each batch size that was asked for, behind one lock.

    The lock is not for speed: several threads in one interpreter give wrong answers, without an
    error (measured: 0.5 to 1.7 % of them).
    """

    def __init__(
        self, artifact: Artifact, data: bytes, runtime: str, module: Any, kernels: str
    ) -> None:
        self.runtime = runtime
        self.version = importlib.metadata.version(runtime)
        self._artifact = artifact
        self._data = data
        self._module = module
        self._kernels = kernels
        self._lock = threading.Lock()
        self._by_batch: dict[int, _Sized] = {}
        self._sized(1)

    def _sized(self, batch: int) -> _Sized:
        if batch not in self._by_batch:
            self._by_batch[batch] = _Sized(self._interpreter(), self._artifact, batch)
        return self._by_batch[batch]

    def _interpreter(self) -> Any:
        options: dict[str, Any] = {"model_content": self._data, "num_threads": 1}
        if self._kernels == "reference":
            resolvers = self._module.OpResolverType
            options["experimental_op_resolver_type"] = resolvers.BUILTIN_REF
        elif self._kernels == "no-delegate":
            resolvers = self._module.OpResolverType
            options["experimental_op_resolver_type"] = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        elif self._kernels != "default":
            raise UsageError("Unknown kernels.", received=self._kernels)
        try:
            return self._module.Interpreter(**options)
        except (ValueError, RuntimeError) as error:
            raise TargetError(
                f"{self.runtime} {self.version} cannot load {self._artifact.file}.",
                received=str(error).strip(),
                expected=f"a runtime that holds {dict(self._artifact.min_runtime)}",
                fix="install a newer runtime, or choose another artifact with --artifact",
            ) from None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``Backend.run``."""
        batch = len(next(iter(inputs.values())))
        with self._lock:
            return self._sized(batch).run(inputs)


class _Sized:
    """One interpreter with its tensors allocated for one batch size."""

    def __init__(self, interpreter: Any, artifact: Artifact, batch: int) -> None:
        self._interpreter = interpreter
        self._stateful = artifact.stateful
        self._inputs = _match(artifact.inputs, interpreter.get_input_details(), artifact)
        self._outputs = _match(artifact.outputs, interpreter.get_output_details(), artifact)
        if batch != 1:
            if artifact.batch != "resizable":
                raise UsageError(f"{artifact.id} has a static batch.", received=batch, expected="1")
            for tensor in artifact.inputs:
                shape = [batch, *(int(d or 1) for d in tensor.shape[1:])]
                interpreter.resize_tensor_input(self._inputs[tensor.name], shape)
        try:
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise TargetError(
                f"The runtime cannot prepare {artifact.file} for a batch of {batch}.",
                received=str(error).strip(),
            ) from None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        interpreter = self._interpreter
        if self._stateful:
            interpreter.reset_all_variables()
        for name, index in self._inputs.items():
            try:
                interpreter.set_tensor(index, inputs[name])
            except ValueError as error:
                raise InvalidDataError(
                    f"Input {name!r} does not fit the model.", received=error
                ) from None
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise TargetError("The runtime failed on this model.", received=error) from None
        # get_tensor copies; a view would be overwritten by the next sample.
        return {name: interpreter.get_tensor(index) for name, index in self._outputs.items()}


def _match(
    tensors: tuple[TensorSpec, ...], details: list[dict[str, Any]], artifact: Artifact
) -> dict[str, int]:
    by_name = {str(detail["name"]): detail for detail in details}
    result: dict[str, int] = {}
    for tensor in tensors:
        detail = by_name.get(tensor.tensor)
        if detail is None or len(by_name) != len(tensors):
            raise InvalidBundleError(
                f"{artifact.file} does not have the tensors that the manifest names.",
                received=sorted(by_name),
                expected=[t.tensor for t in tensors],
            )
        scale, zero_point = detail["quantization"]
        want = (tensor.dtype, np.float32(tensor.scale or 0), tensor.zero_point or 0)
        have = (np.dtype(detail["dtype"]).name, np.float32(scale), int(zero_point))
        shape = [int(d) for d in detail["shape"]]
        if want != have or shape != [d for d in tensor.shape if d is not None]:
            raise InvalidBundleError(
                f"{artifact.file}: tensor {tensor.tensor!r} is not what the manifest says.",
                received=f"{have} {shape}",
                expected=f"{want} {list(tensor.shape)}",
            )
        result[tensor.name] = int(detail["index"])
    return result


def load(
    artifact: Artifact, data: bytes, distribution: str, module: str, kernels: str
) -> TfliteBackend:
    """Load an artifact; see ``runtime.backends.open_backend``."""
    interpreter = importlib.import_module(f"{module}.interpreter")
    if module == "tflite_runtime" and int(np.__version__.split(".")[0]) >= 2:
        raise UsageError(
            "tflite-runtime does not work with this numpy.",
            received=f"numpy {np.__version__}",
            expected="numpy < 2",
            fix="pip install 'numpy<2', or pip install 'edgeward[litert]'",
        )
    return TfliteBackend(artifact, data, distribution, interpreter, kernels)


def debug_interpreter(data: bytes, module: str, *, delegates: bool = False) -> Any:
    """Return an interpreter that keeps every tensor, for the comparison layer by layer.

    Args:
        data: A TFLite file.
        module: ``ai_edge_litert`` or ``tflite_runtime``.
        delegates: Compute with the default kernels, which devices use; then only the tensors are
            kept that are outputs of the file.

    Raises:
        TargetError: It cannot load the file.
    """
    interpreter = importlib.import_module(f"{module}.interpreter")
    resolvers = interpreter.OpResolverType
    # A delegate swallows what lies between its first and its last op.
    chosen = resolvers.AUTO if delegates else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        made = interpreter.Interpreter(
            model_content=data,
            num_threads=1,
            experimental_op_resolver_type=chosen,
            experimental_preserve_all_tensors=not delegates,
        )
        made.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise TargetError(f"{module} cannot load this file.", received=str(error).strip()) from None
    return made
