"""A model's answers to raw samples, and what they are worth: the loss and the task's metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import keras
import numpy as np

from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.errors import UsageError
from edgeward.runtime.preprocessing import postprocess, preprocess_batch
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine, Sigmoid, Softmax
from edgeward.runtime.tasks import METRIC, evaluate
from edgeward.train.datasets.rare import MAJORITY, RECALL, class_name, rare_classes, rare_metrics
from edgeward.train.loop.fit import forward

__all__ = ["Scorer"]

_LOSSES = {
    "classification": keras.losses.SparseCategoricalCrossentropy,
    "binary": keras.losses.BinaryCrossentropy,
    "regression": keras.losses.MeanSquaredError,
}

_Spec = TypeVar("_Spec", InputSpec, OutputSpec)


class Scorer:
    """Scores models of one input and one output.

    Args:
        inputs: Input name -> spec.
        outputs: Output name -> spec.
        vocabularies: Content of the vocabulary files that ``lookup`` steps name.
        rare: Classes to look at, from ``rare_classes`` of the training split; empty where none is
            rare.

    Attributes:
        input_name: Name of the input.
        input: Spec of the input.
        output_name: Name of the output.
        output: Spec of the output.
        metric: Name of the metric that is judged.

    Raises:
        UsageError: Several inputs or outputs.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputSpec],
        outputs: Mapping[str, OutputSpec],
        vocabularies: Mapping[str, bytes] | None = None,
        rare: Sequence[int] = (),
    ) -> None:
        self.input_name, self.input = _only(inputs)
        self.output_name, self.output = _only(outputs)
        self.metric = METRIC[self.output.task]
        self.vocabularies = vocabularies or {}
        self.rare = tuple(rare)
        # Probabilities where the model's graph ends in them; else what the postprocessing makes.
        self._loss = None
        if self.output.task in _LOSSES:
            self._loss = _LOSSES[self.output.task](reduction=None)

    def raw(self, samples: Samples) -> Column:
        """Return the raw inputs."""
        return samples.inputs[self.input_name]

    def tensors(self, samples: Samples) -> Array:
        """Return the preprocessed inputs, as the model takes them."""
        return preprocess_batch(self.input, self.raw(samples), self.vocabularies)

    def targets(self, samples: Samples) -> Array:
        """Return the targets; a column of nothing where a generator has none."""
        if self.output_name not in samples.targets and self.output.task == "generation":
            return np.zeros((len(samples), 0), np.float32)
        return samples.targets[self.output_name]

    def training_targets(self, samples: Samples) -> Array:
        """Return the targets in the unit of the model's tensor, before postprocessing.

        A regression whose postprocessing scales the output to its unit is trained on the inverse
        of that: on numbers of order 1.
        """
        targets = self.targets(samples)
        if self.output.task in ("binary", "regression") and targets.ndim == 1:
            targets = targets[:, None]
        if self.output.task == "regression":
            targets = targets.astype(np.float32)
            for step in reversed(self.output.postprocessing):
                if isinstance(step, Affine):
                    scale, offset = np.asarray(step.scale), np.asarray(step.offset)
                    targets = ((targets - offset) / scale).astype(np.float32)
        return targets

    def training_loss(self) -> keras.losses.Loss:
        """Return the task's loss of (training targets, the model's tensor), one per sample.

        Raises:
            UsageError: The task has none: the recipe must bring a learner.
        """
        if self.output.task not in _LOSSES:
            raise UsageError(
                "There is no loss for this task.",
                received=self.output.task,
                expected=", ".join(_LOSSES),
                fix="give the recipe a learner",
            )
        logits = any(isinstance(step, Sigmoid | Softmax) for step in self.output.postprocessing)
        arguments = {"from_logits": True} if logits else {}
        loss: keras.losses.Loss = _LOSSES[self.output.task](reduction=None, **arguments)
        return loss

    def predict(self, model: keras.Model, samples: Samples) -> Array:
        """Return the outputs for raw samples, float32 [N, ...] after postprocessing."""
        outputs = forward(model, self.tensors(samples))
        return postprocess(self.output.postprocessing, outputs.astype(np.float32))

    def score(self, outputs: Array, samples: Samples, *, brief: bool = False) -> dict[str, float]:
        """Return the task's metrics of outputs from ``predict``.

        Where classes are rare, with what stands beside the accuracy then.

        Args:
            outputs: From ``predict``.
            samples: What they are answers to.
            brief: Leave out the majority, and the recall of classes that are not rare.
        """
        metrics = evaluate(self.output, outputs, self.targets(samples))
        if not self.rare:
            return metrics
        more = rare_metrics(self.output, outputs, self.targets(samples))
        if brief:
            names = {f"{RECALL}{class_name(self.output, one)}" for one in self.rare}
            more = {
                name: value
                for name, value in more.items()
                if name != MAJORITY and (not name.startswith(RECALL) or name in names)
            }
        return metrics | more

    def mean_loss(self, outputs: Array, samples: Samples) -> float:
        """Return the mean loss of outputs from ``predict``, in the targets' own unit."""
        if self._loss is None:
            raise UsageError("There is no loss for this task.", received=self.output.task)
        targets = self.targets(samples)
        return float(np.mean(self._loss(targets.reshape(_shape(targets, outputs)), outputs)))

    def rare_in(self, samples: Samples) -> tuple[int, ...]:
        """Return ``rare_classes`` of a training split."""
        return rare_classes(self.output, self.targets(samples))

    def better(self, one: float, other: float) -> bool:
        """Tell whether ``one`` is a better value of the metric than ``other``."""
        return one < other if self.metric == "rmse" else one > other


def _shape(targets: Array, outputs: Array) -> tuple[int, ...]:
    """Return targets' shape that lines up: [N] against [N, 1] would broadcast to [N, N]."""
    return outputs.shape if targets.size == outputs.size else targets.shape


def _only(specs: Mapping[str, _Spec]) -> tuple[str, _Spec]:
    if len(specs) != 1:
        raise UsageError(
            "The loop trains models of one input and one output.",
            received=", ".join(specs),
            expected="one name each",
        )
    return next(iter(specs.items()))
