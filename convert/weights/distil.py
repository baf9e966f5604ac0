"""Teacher and student: one step, one epoch and one judgement of fine-tuning for int8.

Runs in the worker process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgeward.convert.weights.fake_quant import Graph, quantised_kernel
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import TrainingError

__all__ = ["Judgement", "Student"]

BATCH = 32

# As many as the converter calibrates with, drawn from the same samples.
CALIBRATION = 500

TEMPERATURE = 2.0


@dataclass(frozen=True)
class Judgement:
    """How far the student is from the teacher on the held-out samples; see ``qat.FineTuning``."""

    loss: float
    agreement: float | None
    sqnr: float

    def __str__(self) -> str:
        same = "" if self.agreement is None else f", {self.agreement:.1%} of the decisions"
        return f"loss {self.loss:.4g}{same}, SQNR {self.sqnr:.1f} dB"


class Student:
    """The fake-quantised model, its optimiser, and the float model's answers.

    Args:
        graph: The model.
        arrays: One array of shuffled samples per input.
        held_out: How many of them, from the end, are for judging.
        learning_rate: See ``fine_tune``.
    """

    def __init__(
        self, graph: Graph, arrays: list[Array], held_out: int, learning_rate: float
    ) -> None:
        self.held_out = held_out
        self.trained_on = len(arrays[0]) - held_out
        self._graph, self._arrays, self._rate = graph, arrays, learning_rate
        self._base = [tf.constant(weight.variable) for weight in graph.weights]
        self._sizes = [_size(value.numpy()) for value in self._base]
        self._moves = [keras.Variable(tf.zeros_like(value)) for value in self._base]
        self._rounding = graph.function(quantised=True)
        self._extremes = tf.function(
            lambda *batch: graph.ranges()(batch, self._weights(False)), reduce_retracing=True
        )
        self._scores = tf.function(
            lambda ranges, *batch: self._rounding(batch, self._weights(True), ranges),
            reduce_retracing=True,
        )
        float_function = graph.function(quantised=False)
        teacher = tf.function(
            lambda *batch: float_function(batch, self._base, None), reduce_retracing=True
        )
        self._targets = _in_batches(teacher, arrays)
        # Squared errors count as parts of the output's own variance.
        self._spread = {
            name: float(np.var(values) + 1e-12) for name, values in self._targets.items()
        }
        self._step: Any = None

    def _weights(self, rounded: bool) -> list[Any]:
        """Return the weights; steps are relative to each one's size.

        In a net that needs this the rows of one kernel differ by orders of magnitude: one absolute
        step size is nothing for the large ones and destroys the small ones.
        """
        values = [
            base + size * move.value
            for base, size, move in zip(self._base, self._sizes, self._moves, strict=True)
        ]
        if not rounded:
            return values
        return [
            quantised_kernel(value, weight.kernel) if weight.kernel else value
            for value, weight in zip(values, self._graph.weights, strict=True)
        ]

    def values(self) -> list[Floats]:
        """Return the float weights as they are now."""
        return [value.numpy() for value in self._weights(False)]

    def schedule(self, epochs: int) -> None:
        """Prepare ``train`` for so many epochs."""
        steps = max(epochs * -(-self.trained_on // BATCH), 1)
        rate = keras.optimizers.schedules.CosineDecay(self._rate, steps)
        optimizer = keras.optimizers.Adam(rate)
        optimizer.build(self._moves)

        def step(ranges: Any, targets: Any, *batch: Any) -> Any:
            with tf.GradientTape() as tape:
                scores = self._rounding(batch, self._weights(True), ranges)
                loss = self._loss(scores, targets)
            gradients = tape.gradient(loss, [move.value for move in self._moves])
            optimizer.apply(gradients, self._moves)
            return loss

        self._step = tf.function(step, reduce_retracing=True)

    def train(self, generator: np.random.Generator) -> None:
        """Do one epoch.

        Raises:
            TrainingError: The loss is not finite.
        """
        ranges = self._ranges()
        order = generator.permutation(self.trained_on)
        for start in range(0, len(order), BATCH):
            rows = np.sort(order[start : start + BATCH])
            targets = {name: tf.constant(t[rows]) for name, t in self._targets.items()}
            loss = self._step(ranges, targets, *(tf.constant(a[rows]) for a in self._arrays))
            _check(float(loss))

    def judge(self) -> Judgement:
        """Compare with the float model on the held-out samples, ranges measured anew."""
        ranges, rows = self._ranges(), slice(self.trained_on, None)
        scores = _in_batches(
            lambda *batch: self._scores(ranges, *batch), [array[rows] for array in self._arrays]
        )
        targets = {name: values[rows] for name, values in self._targets.items()}
        loss = _check(float(self._loss(scores, targets)))
        same = [
            np.mean(_decisions(kind, scores[name]) == _decisions(kind, targets[name]))
            for name, kind in self._graph.heads.items()
            if kind != "linear"
        ]
        sqnr = min(
            10 * np.log10((np.mean(t**2) + 1e-12) / (np.mean((scores[name] - t) ** 2) + 1e-12))
            for name, t in targets.items()
        )
        return Judgement(loss, float(min(same)) if same else None, float(sqnr))

    def _ranges(self) -> Any:
        """Measure min and max of each activation as the converter will, with float weights."""
        points = len(self._graph.points)
        found = np.zeros((points, 2), np.float32)
        for start in range(0, min(self.trained_on, CALIBRATION) if points else 0, BATCH):
            batch = [tf.constant(array[start : start + BATCH]) for array in self._arrays]
            new = self._extremes(*batch).numpy()
            # Zero is always within: padding needs it.
            found[:, 0] = np.minimum(found[:, 0], new[:, 0])
            found[:, 1] = np.maximum(found[:, 1], new[:, 1])
        found[:, 1] = np.maximum(found[:, 1], found[:, 0] + 1e-6)
        return tf.constant(found)

    def _loss(self, scores: Mapping[str, Any], targets: Mapping[str, Any]) -> Any:
        return tf.add_n(
            [
                _distance(kind, scores[name], targets[name]) / self._spread_of(name, kind)
                for name, kind in self._graph.heads.items()
            ]
        )

    def _spread_of(self, name: str, kind: str) -> float:
        return self._spread[name] if kind == "linear" else 1.0


def _distance(kind: str, scores: Any, targets: Any) -> Any:
    """Return the mean divergence of student from teacher; 0 where they are equal."""
    if kind == "linear":
        return tf.reduce_mean(tf.square(scores - targets))
    hot, cold = targets / TEMPERATURE, scores / TEMPERATURE
    if kind == "softmax":
        teacher = tf.nn.softmax(hot)
        parts = teacher * (tf.nn.log_softmax(hot) - tf.nn.log_softmax(cold))
        return TEMPERATURE**2 * tf.reduce_mean(tf.reduce_sum(parts, axis=-1))
    cross = tf.nn.sigmoid_cross_entropy_with_logits
    teacher = tf.sigmoid(hot)
    return TEMPERATURE**2 * tf.reduce_mean(cross(teacher, cold) - cross(teacher, hot))


def _decisions(kind: str, scores: Floats) -> Array:
    return scores.argmax(-1) if kind == "softmax" else scores >= 0


def _size(value: Floats) -> Floats:
    """Return how large each weight is among its neighbours: the length of its step.

    For kernels the product of what is usual in its input channel and in its output channel.
    """
    square = value.astype(np.float64) ** 2 + 1e-24
    if value.ndim < 2:
        return np.sqrt(np.maximum(square, 1e-4 * square.mean())).astype(np.float32)
    rows = square.mean(axis=tuple(i for i in range(value.ndim) if i != value.ndim - 2))
    columns = square.mean(axis=tuple(range(value.ndim - 1)))
    size = np.sqrt(rows[:, None] * columns / square.mean())
    return np.broadcast_to(size, value.shape).astype(np.float32)


def _check(loss: float) -> float:
    if not np.isfinite(loss):
        raise TrainingError(
            "Fine-tuning for int8 lost its way.",
            received=f"loss {loss}",
            expected="a finite loss",
            fix="convert without --qat; a value of the inputs or a weight may be extreme",
        )
    return loss


def _in_batches(function: Any, arrays: list[Array]) -> dict[str, Floats]:
    parts = [
        function(*(tf.constant(array[start : start + BATCH]) for array in arrays))
        for start in range(0, len(arrays[0]), BATCH)
    ]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}
