"""A SavedModel folder. Runs in the worker process.

A SavedModel holds graphs and weights, no classes: it serves models whose classes only the user's
own program knows. Its layers are gone, so nothing here can be unrolled or fused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from edgeward.convert.model.edges import plain
from edgeward.convert.model.loaded import LoadedModel, Variable
from edgeward.runtime.arrays import Floats
from edgeward.runtime.errors import InvalidModelError, TargetError

__all__ = ["SIGNATURES", "SavedModel", "open_saved_model"]

# What tf.saved_model.save writes by default, and what Keras' export writes.
SIGNATURES = ("serving_default", "serve")


@dataclass(frozen=True)
class SavedModel(LoadedModel):
    """One signature of a SavedModel; see ``LoadedModel``.

    Attributes:
        function: Gives the outputs of tensors in the order of ``taken``.
        taken: ``tf.TensorSpec`` of each input.
        given: ``tf.TensorSpec`` of each output.
        inputs: Names in the order of ``taken``.
        outputs: Names in the order of ``given``.
        weights: The ``tf.Variable`` objects.
        loops: Whether the graph has a loop, as recurrent layers leave it.
        note: What the user should know about how it was loaded.
        root: What the variables hang on: they live as long as it.
    """

    function: Callable[..., Sequence[Any]]
    taken: tuple[Any, ...]
    given: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[Any, ...] = ()
    loops: bool = False
    note: str = ""
    root: Any = None

    @property
    def recurrent(self) -> list[str]:
        """None: there are no layers."""
        return []

    @property
    def layered(self) -> None:
        """None: there are no layers."""
        return None

    @property
    def variables(self) -> list[Variable]:
        """The variables of the graph."""
        return [Variable(one.name, one, one.trainable) for one in self.weights]

    @property
    def activations(self) -> Mapping[str, str | None]:
        """None of them is known."""
        return dict.fromkeys(self.outputs)

    def call(self, *tensors: Any) -> dict[str, Any]:
        """Run the graph, which is the one for inference."""
        return dict(zip(self.outputs, self.function(*tensors), strict=True))

    def signature(self, batch: int | None) -> list[Any]:
        """Return one ``tf.TensorSpec`` per input with this batch size."""
        return [
            tf.TensorSpec((batch, *spec.shape[1:]), spec.dtype, name=name)
            for name, spec in zip(self.inputs, self.taken, strict=True)
        ]

    def results(self) -> list[Any]:
        """Return one ``tf.TensorSpec`` per output."""
        return [
            tf.TensorSpec(spec.shape, spec.dtype, name=name)
            for name, spec in zip(self.outputs, self.given, strict=True)
        ]

    def renamed(self, inputs: Sequence[str], outputs: Sequence[str]) -> SavedModel:
        """Return the same model with other names."""
        return replace(self, inputs=tuple(inputs), outputs=tuple(outputs))

    def with_shapes(self, shapes: Sequence[tuple[int | None, ...]]) -> SavedModel:
        """Return the same model for inputs of these dimensions.

        Raises:
            TargetError: It takes only one size of batch.
        """
        for spec, shape in zip(self.taken, shapes, strict=True):
            if spec.shape[0] is not None:
                raise TargetError(
                    f"The SavedModel takes batches of {spec.shape[0]} only.",
                    received=f"{spec.name} {[spec.shape[0], *shape]}",
                    expected="a batch of any size: ONNX needs it, and so does measuring",
                    fix="export it again with None as first dimension: model.export(folder)",
                )
        taken = (
            tf.TensorSpec((None, *shape), spec.dtype, name=spec.name)
            for spec, shape in zip(self.taken, shapes, strict=True)
        )
        return replace(self, taken=tuple(taken))

    def with_values(
        self,
        values: Mapping[int, Floats],  # noqa: ARG002 - the function has them
        function: Callable[[], Callable[..., dict[str, Any]]],
    ) -> SavedModel:
        """Return a copy with other weights: its variables cannot be copied, its graph can."""
        made = function()

        def call(*tensors: Any) -> list[Any]:
            result = made(*tensors)
            return [result[name] for name in self.outputs]

        # Nothing that fine-tuning can take apart has a loop.
        return replace(self, function=call, weights=(), loops=False, root=None)

    def unrolled(self) -> SavedModel:
        """Return the model itself: what could be unrolled is gone."""
        return self


def open_saved_model(path: Path, note: str = "") -> SavedModel:
    """Open a SavedModel folder.

    Args:
        path: The folder.
        note: What the user should know about why it is this one.

    Raises:
        InvalidModelError: It is damaged, or it is not clear which signature is meant.
    """
    try:
        root = tf.saved_model.load(str(path))
        signatures = dict(root.signatures)
    except Exception as error:  # protobuf, file system and graph errors of TensorFlow
        raise InvalidModelError(
            f"{path.name} cannot be loaded.",
            received=f"{type(error).__name__}: {error}"[:500],
            expected="a folder that model.export() or tf.saved_model.save() wrote",
        ) from None
    known = [name for name in SIGNATURES if name in signatures]
    if not known and len(signatures) != 1:
        raise InvalidModelError(
            f"{path.name} does not say how it is called.",
            received=f"signatures {sorted(signatures)}",
            expected=f"one of {list(SIGNATURES)}, or a single one",
            fix="write the folder with model.export(), or give tf.saved_model.save() signatures=",
        )
    function = signatures[known[0] if known else next(iter(signatures))]
    taken: Mapping[str, Any] = function.structured_input_signature[1]
    given: Mapping[str, Any] = function.structured_outputs
    # Sorted: the order in the file is not the same from one export to the next.
    inputs, outputs = sorted(taken), sorted(given)

    def call(*tensors: Any) -> list[Any]:
        result = function(**dict(zip(inputs, tensors, strict=True)))
        return [result[name] for name in outputs]

    return SavedModel(
        function=call,
        taken=tuple(tf.TensorSpec(taken[n].shape, taken[n].dtype, name=n) for n in inputs),
        given=tuple(given[name] for name in outputs),
        inputs=tuple(plain(inputs)),
        outputs=tuple(plain(outputs)),
        weights=tuple(function.variables),
        loops=_has_loop(function.graph.as_graph_def()),
        note=note,
        root=root,
    )


def _has_loop(graph: Any) -> bool:
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return any(node.op in ("While", "StatelessWhile") for node in nodes)
