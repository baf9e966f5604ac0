"""Looking into a Keras model while it runs: nested, functional or subclassed, in the real order.

A sub-model cut out of the graph would be the textbook way; it cannot be cut out of a model that
holds another model (every transfer learning), nor of one without a graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from edgeward.runtime.arrays import Array

__all__ = ["Call", "replaced", "trace"]


@dataclass(frozen=True)
class Call:
    """One layer at work.

    Args:
        layer: The layer; no model of layers.
        taken: Shape of its first input, with batch; empty if that is no tensor.
        shape: Shape of its output, with batch; empty if that is no tensor.
        floating: Whether the output is of floating point.
    """

    layer: keras.Layer
    taken: tuple[int, ...]
    shape: tuple[int, ...]
    floating: bool


def trace(model: keras.Model, sample: Array) -> list[Call]:
    """Run the model and return every call of a layer, in their order.

    Args:
        model: Of one input.
        sample: Preprocessed [1, ...].
    """
    calls: list[Call] = []
    with contextlib.ExitStack() as stack:
        for layer in _leaves(model):
            stack.enter_context(replaced(layer, "call", _recording(layer, calls)))
        model(sample, training=False)
    return calls


def _recording(layer: Any, calls: list[Call]) -> Any:
    original = layer.call

    def call(*arguments: Any, **named: Any) -> Any:
        made = original(*arguments, **named)
        taken = arguments[0] if arguments else None
        dtype = keras.backend.standardize_dtype(made.dtype) if hasattr(made, "dtype") else ""
        calls.append(Call(layer, _shape(taken), _shape(made), "float" in dtype))
        return made

    return call


@contextlib.contextmanager
def replaced(thing: Any, name: str, value: Any) -> Iterator[None]:
    """Give an object another attribute for a while, behind the back of Keras' own tracking."""
    own = name in vars(thing)
    before = getattr(thing, name)
    object.__setattr__(thing, name, value)
    try:
        yield
    finally:
        if own:
            object.__setattr__(thing, name, before)
        else:
            object.__delattr__(thing, name)


def _leaves(model: Any) -> Iterator[Any]:
    seen: set[int] = set()
    pending = list(model.layers)
    while pending:
        layer = pending.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if isinstance(layer, keras.Model):
            pending = [*layer.layers, *pending]
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if hasattr(value, "shape") else ()
