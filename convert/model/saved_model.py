"""A SavedModel folder, seen as the Keras model it came from. Runs in the worker process.

A SavedModel holds graphs and weights, no classes: it serves models whose classes only the user's
own program knows. Its layers are gone, so nothing here can be unrolled or fused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from edgeward.runtime.errors import InvalidModelError

__all__ = ["SIGNATURES", "ServedModel", "open_saved_model"]

# What tf.saved_model.save writes by default, and what Keras' export writes.
SIGNATURES = ("serving_default", "serve")


class ServedModel:
    """One signature of a SavedModel, with the attributes of a Keras model that are used here.

    Attributes:
        inputs: ``tf.TensorSpec`` of each input, sorted by name.
        outputs: ``tf.TensorSpec`` of each output, sorted by name.
        output_names: Names of the outputs.
        layers: Empty: a SavedModel has no layers.
        weights: The variables.
    """

    layers: tuple[Any, ...] = ()

    def __init__(self, function: Any, root: Any) -> None:
        self._function = function
        # The variables live as long as the object they hang on.
        self._root = root
        taken: Mapping[str, Any] = function.structured_input_signature[1]
        given: Mapping[str, Any] = function.structured_outputs
        # Sorted: the order in the file is not the same from one export to the next.
        self._names = sorted(taken)
        self.inputs = [
            tf.TensorSpec(taken[name].shape, taken[name].dtype, name=name) for name in self._names
        ]
        self.output_names = sorted(given)
        self.outputs = [given[name] for name in self.output_names]
        self.weights = list(function.variables)

    def fix(self, shapes: list[tuple[int | None, ...]]) -> None:
        """Set the shapes of the inputs, after the batch dimension."""
        self.inputs = [
            tf.TensorSpec((spec.shape[0], *shape), spec.dtype, name=spec.name)
            for spec, shape in zip(self.inputs, shapes, strict=True)
        ]

    def __call__(self, arguments: Any, training: bool = False) -> list[Any]:  # noqa: ARG002
        """Run the graph, which is the one for inference; outputs in the order of their names."""
        tensors = arguments if isinstance(arguments, list) else [arguments]
        result = self._function(**dict(zip(self._names, tensors, strict=True)))
        return [result[name] for name in self.output_names]

    def _flatten_layers(self, include_self: bool = False) -> list[Any]:  # noqa: ARG002
        return []

    @property
    def loops(self) -> bool:
        """Whether the graph has a loop, as recurrent layers leave it."""
        graph = self._function.graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        return any(node.op in ("While", "StatelessWhile") for node in nodes)


def open_saved_model(path: Path) -> ServedModel:
    """Open a SavedModel folder.

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
    return ServedModel(function, root)
