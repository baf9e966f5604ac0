"""A function of a rewritten graph. Runs in the worker process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["function_of"]


def function_of(
    graph: Any,
    feeds: Sequence[str],
    fetches: Sequence[str],
    finish: Callable[[Any], Sequence[Any]] = lambda tensor: [tensor],
) -> Any:
    """Return a concrete function of a graph, with what its outputs do not need left out.

    Args:
        graph: A ``GraphDef`` without variables.
        feeds: Names of the tensors that the function takes, in this order.
        fetches: Names of the tensors that it gives.
        finish: What is given of each of them; the tensor itself where nothing is said.
    """
    ends: list[Any] = []

    def build() -> None:
        found = tf.graph_util.import_graph_def(graph, name="", return_elements=list(fetches))
        ends.extend(end for tensor in found for end in finish(tensor))

    wrapped = tf.compat.v1.wrap_function(build, [])
    return wrapped.prune([wrapped.graph.get_tensor_by_name(name) for name in feeds], ends)
