"""Raw samples in, decoded answers out, built from the manifest alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array, Column, Floats
from edgeward.runtime.backends import Backend, open_backend
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.runtime.manifest import Artifact, InputSpec, OutputSpec, TensorSpec
from edgeward.runtime.preprocessing import postprocess, preprocess, preprocess_batch
from edgeward.runtime.quantization import dequantize, quantize
from edgeward.runtime.tasks import Decoded, decode

__all__ = ["Prediction", "Predictor", "Runner"]

Raw = Array | bytes | str

# Larger batches fall out of the cache and are slower (measured from 256 on).
BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """The decoded outputs of one sample.

    Attributes:
        outputs: Output name -> decoded output. With one output its fields are here as well.
    """

    outputs: Mapping[str, Decoded]

    def __getitem__(self, name: str) -> Decoded:
        """Return one output by name."""
        return self.outputs[name]

    def __getattr__(self, field: str) -> Any:
        """Return ``values``, ``index``, ``label`` or ``score`` of the only output."""
        if field in ("values", "index", "label", "score"):
            if len(self.outputs) == 1:
                return getattr(next(iter(self.outputs.values())), field)
            raise AttributeError(
                f"The model has {len(self.outputs)} outputs; name one: prediction[NAME].{field}"
            )
        raise AttributeError(field)


class Runner:
    """One artifact in one interpreter, with the arithmetic around it.

    ``Predictor`` runs it on a bundle's file; conversion measures the very same object on the bytes
    it is about to bundle.

    Args:
        artifact: The artifact's description.
        backend: Its loaded interpreter.
        inputs: Input name -> spec.
        outputs: Output name -> spec.
        vocabularies: Content of the vocabulary files.
    """

    def __init__(
        self,
        artifact: Artifact,
        backend: Backend,
        inputs: Mapping[str, InputSpec],
        outputs: Mapping[str, OutputSpec],
        vocabularies: Mapping[str, bytes] | None = None,
    ) -> None:
        self.artifact = artifact
        self.backend = backend
        self._inputs = inputs
        self.outputs = outputs
        self._vocabularies = vocabularies or {}

    def tensors(self, sample: Mapping[str, Raw]) -> dict[str, Array]:
        """Return the artifact's input tensors, batch of 1, for one raw sample."""
        self._check_names(sample)
        return {
            tensor.name: _fit(
                tensor,
                preprocess(
                    self._inputs[tensor.name],
                    sample[tensor.name],
                    self._vocabularies,
                    f"input {tensor.name!r}",
                )[None],
            )
            for tensor in self.artifact.inputs
        }

    def invoke(self, sample: Mapping[str, Raw]) -> dict[str, Array]:
        """Run one raw sample and return what the artifact's file gives, before dequantisation."""
        return self.backend.run(self.tensors(sample))

    def values(self, raw_outputs: Mapping[str, Array]) -> dict[str, Floats]:
        """Dequantise and postprocess what the file gave; float32 ``[N, ...]``."""
        return {name: self.value(name, raw) for name, raw in raw_outputs.items()}

    def value(self, name: str, raw: Array) -> Floats:
        """Dequantise and postprocess one output; float32 ``[N, ...]``."""
        tensor = next(tensor for tensor in self.artifact.outputs if tensor.name == name)
        return postprocess(self.outputs[name].postprocessing, _to_float(tensor, raw))

    def invoke_batch(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Run N raw samples.

        Args:
            columns: Input name -> N raw samples.

        Returns:
            Output name -> ``[N, ...]``, before dequantisation.
        """
        self._check_names(columns)
        lengths = {
            name: len(column) if isinstance(column, list) or np.ndim(column) else 0
            for name, column in columns.items()
        }
        count = min(lengths.values())
        if count == 0 or len(set(lengths.values())) != 1:
            raise InvalidDataError(
                "The columns must hold the same number of samples.",
                received=lengths,
                expected="at least 1",
            )
        parts: list[dict[str, Array]] = []
        for start in range(0, count, 1024):
            tensors = {
                tensor.name: _fit(
                    tensor,
                    preprocess_batch(
                        self._inputs[tensor.name],
                        columns[tensor.name][start : start + 1024],
                        self._vocabularies,
                        first=start,
                    ),
                )
                for tensor in self.artifact.inputs
            }
            parts.extend(self._run_chunks(tensors))
        return {
            tensor.name: np.concatenate([part[tensor.name] for part in parts])
            for tensor in self.artifact.outputs
        }

    def _run_chunks(self, tensors: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        count = len(next(iter(tensors.values())))
        resizable = self.artifact.batch == "resizable"
        size = min(BATCH, count) if resizable and count > 1 else 1
        for start in range(0, count, size):
            chunk = {name: array[start : start + size] for name, array in tensors.items()}
            used = min(size, count - start)
            if used < size:
                # Filling up the last batch is cheaper than allocating tensors for another size.
                chunk = {
                    name: np.concatenate([array, np.repeat(array[-1:], size - used, axis=0)])
                    for name, array in chunk.items()
                }
            outputs = self.backend.run(chunk)
            yield {name: array[:used] for name, array in outputs.items()}

    def _check_names(self, given: Mapping[str, object]) -> None:
        if set(given) != set(self._inputs):
            raise InvalidDataError(
                "These are not the model's inputs.",
                received=sorted(given),
                expected=sorted(self._inputs),
            )


class Predictor:
    """Run a bundle.

    >>> predictor = Predictor.open("bundles/mnist_cnn")       # doctest: +SKIP
    >>> predictor.predict(image).label                        # doctest: +SKIP
    '7'
    """

    def __init__(self, bundle: Bundle, runner: Runner) -> None:
        self.bundle = bundle
        self.runner = runner

    @classmethod
    def open(
        cls, bundle: Path | str | Bundle, *, artifact: str | None = None, backend: str | None = None
    ) -> Predictor:
        """Open a bundle and load one artifact.

        Args:
            bundle: The bundle's folder.
            artifact: Artifact id; the bundle's default for None. With ``backend`` alone, the first
                artifact that this backend can run.
            backend: ``litert``, ``tflite`` or ``onnx``; the best installed for None.

        Raises:
            InvalidBundleError: The bundle is damaged.
            MissingExtraError: No interpreter for the artifact is installed.
            TargetError: The interpreter cannot load the artifact.
            UsageError: Unknown artifact or backend.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        manifest = opened.manifest
        chosen = manifest.artifact(artifact)
        if artifact is None and backend is not None and not _fits(backend, chosen):
            fitting = [a for a in manifest.artifacts if _fits(backend, a)]
            # The int8 one is what a device is meant to run.
            chosen = next((a for a in fitting if a.variant == "int8"), (*fitting, chosen)[0])
        loaded = open_backend(chosen, opened.artifact_bytes(chosen), backend)
        runner = Runner(chosen, loaded, manifest.inputs, manifest.outputs, opened.vocabularies())
        return cls(opened, runner)

    def predict(self, raw: Raw | Mapping[str, Raw]) -> Prediction:
        """Predict one raw sample.

        Args:
            raw: The raw sample as the manifest describes it (an image: uint8 ``[H, W, C]``), or
                input name -> raw sample where the model has several inputs.

        Raises:
            InvalidDataError: The sample does not fit; says what was expected.
        """
        sample = raw if isinstance(raw, Mapping) else {self._only_input(): raw}
        return self._decode(self.runner.values(self.runner.invoke(sample)), 0)

    def predict_batch(
        self, raws: Column | Sequence[Raw] | Mapping[str, Column]
    ) -> list[Prediction]:
        """Predict many raw samples of one shape; the same answers as ``predict`` one by one.

        Args:
            raws: ``[N, ...]`` array, list of samples, or input name -> N samples.
        """
        columns = raws if isinstance(raws, Mapping) else {self._only_input(): _column(raws)}
        values = self.runner.values(self.runner.invoke_batch(columns))
        return [self._decode(values, i) for i in range(len(next(iter(values.values()))))]

    def _decode(self, values: Mapping[str, Floats], i: int) -> Prediction:
        specs = self.bundle.manifest.outputs
        return Prediction({name: decode(specs[name], array[i]) for name, array in values.items()})

    def _only_input(self) -> str:
        names = list(self.bundle.manifest.inputs)
        if len(names) != 1:
            raise UsageError(
                "The model has several inputs.",
                received="one unnamed sample",
                expected=f"a mapping with {names}",
            )
        return names[0]


def _fits(backend: str, artifact: Artifact) -> bool:
    return artifact.format == ("onnx" if backend == "onnx" else "tflite")


def _column(raws: Column | Sequence[Raw]) -> Column:
    if isinstance(raws, np.ndarray):
        return raws
    items = list(raws)
    if not items:
        raise InvalidDataError("There are no samples.", received="0", expected="at least 1")
    if all(isinstance(item, str | bytes) for item in items):
        return [item.encode() if isinstance(item, str) else bytes(item) for item in items]
    try:
        shapes = {np.shape(item) for item in items}
        if len(shapes) == 1:
            return np.stack([np.asarray(item) for item in items])
    except ValueError as error:
        raise InvalidDataError("The samples are no arrays.", received=error) from None
    raise InvalidDataError(
        "The samples differ in shape.",
        received=sorted(shapes),
        expected="one shape; call predict for each sample otherwise",
    )


def _fit(tensor: TensorSpec, values: Array) -> Array:
    """Quantise where the artifact wants integers, and check shape and dtype."""
    want = list(tensor.shape[1:])
    if list(values.shape[1:]) != want:
        raise InvalidDataError(
            f"Input {tensor.name!r} has the wrong shape after preprocessing.",
            received=list(values.shape[1:]),
            expected=want,
        )
    if tensor.scale is not None and tensor.zero_point is not None and values.dtype == np.float32:
        return quantize(
            values.astype(np.float32, copy=False), tensor.scale, tensor.zero_point, tensor.dtype
        )
    if values.dtype != tensor.dtype:
        raise InvalidDataError(
            f"Input {tensor.name!r} has the wrong dtype after preprocessing.",
            received=str(values.dtype),
            expected=tensor.dtype,
        )
    return np.ascontiguousarray(values)


def _to_float(tensor: TensorSpec, values: Array) -> Floats:
    if tensor.scale is not None and tensor.zero_point is not None:
        return dequantize(values, tensor.scale, tensor.zero_point)
    return values.astype(np.float32)
