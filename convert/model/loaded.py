"""A loaded model, whatever file it came from: what all others of its process ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidModelError

__all__ = ["LoadedModel", "Variable"]


@dataclass(frozen=True)
class Variable:
    """A variable of a model.

    Attributes:
        name: What the user knows it by.
        value: The ``tf.Variable``.
        trainable: Whether the model itself would train it.
    """

    name: str
    value: Any
    trainable: bool


class LoadedModel(Protocol):
    """A model whose edges have the manifest's names.

    ``keras_model.KerasModel`` has layers, ``saved_model.SavedModel`` has a graph only.

    Attributes:
        inputs: Names of the inputs, in the order of ``call``.
        outputs: Names of the outputs.
        note: What the user should know about how it was loaded; mostly empty.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    note: str

    @property
    def loops(self) -> bool:
        """Whether it has loops that can neither be unrolled nor fused, their layers being gone."""
        ...

    @property
    def recurrent(self) -> list[str]:
        """Names of its recurrent layers; none where the layers are gone, see ``loops``."""
        ...

    @property
    def layered(self) -> Any | None:
        """The Keras model, for what looks at layers or copies them; None where they are gone."""
        ...

    @property
    def variables(self) -> list[Variable]:
        """Its variables, in an order that ``with_values`` counts by."""
        ...

    @property
    def activations(self) -> Mapping[str, str | None]:
        """Output name -> activation of the layer that gives it; None where it is not known."""
        ...

    def call(self, *tensors: Any) -> dict[str, Any]:
        """Call the model for inference: tensors in the order of ``inputs``, outputs by name."""
        ...

    def signature(self, batch: int | None) -> list[Any]:
        """Return one ``tf.TensorSpec`` per input with this batch size."""
        ...

    def results(self) -> list[Any]:
        """Return one ``tf.TensorSpec`` per output, with what is known of its shape."""
        ...

    def renamed(self, inputs: Sequence[str], outputs: Sequence[str]) -> LoadedModel:
        """Return the same model with other names, in the same order."""
        ...

    def with_shapes(self, shapes: Sequence[tuple[int | None, ...]]) -> LoadedModel:
        """Return the same model for inputs of these dimensions after a batch of any size.

        Raises:
            TargetError: It cannot be built with them, or takes only one size of batch.
        """
        ...

    def with_values(
        self, values: Mapping[int, Floats], function: Callable[[], Callable[..., dict[str, Any]]]
    ) -> LoadedModel:
        """Return a copy with other weights; this one stays as it is.

        Args:
            values: Place among ``variables`` -> value.
            function: Makes ``f(*inputs) -> {output: values}`` with these weights, for a model whose
                variables cannot be copied.
        """
        ...

    def unrolled(self) -> LoadedModel:
        """Return the same model with its recurrent layers unrolled: no loop, no state.

        Its answers are the same. Masks stay: an unrolled step that is masked selects the state
        before it.
        """
        ...

    def check(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return preprocessed samples ``[N, ...]`` that fit the model's inputs.

        Raises:
            InvalidModelError: Another shape or dtype than the model takes.
        """
        for spec in self.signature(None):
            array = arrays[spec.name]
            have, want = list(array.shape[1:]), list(spec.shape[1:])
            if have != want or array.dtype.name != spec.dtype.name:
                raise InvalidModelError(
                    f"The model does not take what preprocessing gives for input {spec.name!r}.",
                    received=f"{array.dtype} {have} from preprocessing",
                    expected=f"{spec.dtype.name} {want}",
                )
        return arrays

    def predict(self, arrays: Mapping[str, Array], batch: int = 500) -> dict[str, Floats]:
        """Run the float model on N preprocessed samples."""
        step = tf.function(lambda *tensors: self.call(*tensors))
        count = len(next(iter(arrays.values())))
        parts = [
            step(*(tf.constant(arrays[name][start : start + batch]) for name in self.inputs))
            for start in range(0, count, batch)
        ]
        return {
            name: np.concatenate([part[name].numpy() for part in parts]) for name in self.outputs
        }
