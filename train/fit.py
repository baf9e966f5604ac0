"""The one training loop, the same for one CPU, one GPU, several GPUs and several workers.

It is custom because Keras 3 ``fit`` fails under MultiWorkerMirroredStrategy (keras#20585), and
because whole chunks of steps run inside one graph, which on two CPU cores costs a third less than
calling a step at a time. The data of an epoch are tensors in memory; every replica takes its part
of each batch by its id, so that each way to distribute trains on the same batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from runtime.arrays import Array
from runtime.errors import TrainingError, UsageError
from train.devices import Device
from train.schedule import OneCycle

__all__ = ["Epoch", "Feed", "Plan", "Reporter", "fit", "forward"]

# Steps per graph call: long enough that Python costs nothing, short enough that Ctrl-C and the
# check for a NaN loss come within about a second on a slow machine.
_CHUNK = 50
_FORWARD_BATCH = 500


class Feed(Protocol):
    """Where the loop takes its batches from."""

    size: int

    def epoch(self, number: int) -> tuple[Array, Array]:
        """Return inputs (float32) and targets of one epoch, shuffled; ``number`` counts from 0."""


class Reporter(Protocol):
    """Who is told how far the training is."""

    def advance(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Tell that ``step`` of ``steps`` of an epoch are done; ``loss`` is their running mean."""


@dataclass(frozen=True)
class Plan:
    """What the loop has to know beyond data and device.

    Args:
        build: Makes the untrained model under the dtype policy in force.
        loss: Keras loss without reduction, of (targets, outputs) to one number per sample.
        epochs: Passes over the training split, >= 1.
        batch_size: Samples per optimizer step over all replicas together.
        learning_rate: Peak of the one-cycle schedule.
        seed: Fixes initial weights and dropout. The order of the samples is the feed's.
    """

    build: Callable[[], keras.Model]
    loss: keras.losses.Loss
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    Args:
        number: Counts from 1.
        loss: Mean training loss over the steps of the epoch, on augmented samples.
        learning_rate: Learning rate of the last step.
        seconds: Wall-clock time of the steps, without validation.
    """

    number: int
    loss: float
    learning_rate: float
    seconds: float


def fit(
    plan: Plan,
    feed: Feed,
    device: Device,
    *,
    reporter: Reporter,
    on_epoch: Callable[[Epoch, keras.Model], None],
) -> keras.Model:
    """Train a model.

    Args:
        plan: Model, loss and schedule.
        feed: Training samples.
        device: Strategy and precision from ``train.devices``.
        reporter: Told after every chunk of steps.
        on_epoch: Called after each epoch with a float32 model that holds the present weights.

    Returns:
        A float32 model with the final weights, whatever the precision of the training was.

    Raises:
        TrainingError: The loss is not finite.
        UsageError: The batch does not fit the replicas or the data.
    """
    replicas = device.strategy.num_replicas_in_sync
    steps = feed.size // plan.batch_size
    if plan.batch_size % replicas or steps == 0:
        raise UsageError(
            "The batch size does not fit.",
            received=plan.batch_size,
            expected=f"a multiple of {replicas} (replicas), at most {feed.size} (samples)",
            fix="--batch-size N",
        )
    # Fixes the initial weights too: every worker starts from the same ones.
    keras.utils.set_random_seed(plan.seed)
    exported = _build(plan, "float32")
    keras.utils.set_random_seed(plan.seed)
    with device.strategy.scope():
        model = _build(plan, device.policy)
        model.set_weights(exported.get_weights())
        schedule = OneCycle(plan.learning_rate, plan.epochs * steps)
        optimizer = keras.optimizers.Adam(schedule)
        if device.policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
    run_chunk = _make_chunk(plan, model, optimizer, device.strategy)

    for number in range(1, plan.epochs + 1):
        started = time.perf_counter()
        arrays = feed.epoch(number - 1)
        inputs, targets = (tf.convert_to_tensor(array) for array in arrays)
        total = 0.0
        for first in range(0, steps, _CHUNK):
            count = min(_CHUNK, steps - first)
            results = run_chunk(inputs, targets, tf.constant(first), tf.constant(count))
            chunk_loss, finite_weights = float(results[0]), bool(results[1])
            if not (math.isfinite(chunk_loss) and finite_weights):
                what = "A weight" if math.isfinite(chunk_loss) else "The loss"
                raise TrainingError(
                    f"{what} is not finite in epoch {number}, steps {first + 1} to "
                    f"{first + count} of {steps}.",
                    received=f"loss {chunk_loss / count}",
                    fix="a smaller --learning-rate, if the data are right",
                )
            total += chunk_loss
            reporter.advance(number, first + count, steps, total / (first + count))
        exported.set_weights(model.get_weights())
        last_rate = float(schedule(number * steps - 1))
        on_epoch(Epoch(number, total / steps, last_rate, time.perf_counter() - started), exported)
    return exported


def forward(model: keras.Model, inputs: Array) -> Array:
    """Return the outputs of ``model`` for preprocessed inputs [N, ...], in batches."""
    return np.concatenate(
        [
            np.asarray(model.predict_on_batch(inputs[first : first + _FORWARD_BATCH]))
            for first in range(0, len(inputs), _FORWARD_BATCH)
        ]
    )


def _build(plan: Plan, policy: str) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return plan.build()
    finally:
        keras.config.set_dtype_policy(before)


def _make_chunk(
    plan: Plan, model: keras.Model, optimizer: Any, strategy: tf.distribute.Strategy
) -> Callable[..., Any]:
    replicas = strategy.num_replicas_in_sync
    part = plan.batch_size // replicas

    def step(inputs: Any, targets: Any, index: Any) -> Any:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = index * plan.batch_size + replica * part + tf.range(part)
        with tf.GradientTape() as tape:
            outputs = model(tf.gather(inputs, rows), training=True)
            per_sample = plan.loss(tf.gather(targets, rows), tf.cast(outputs, tf.float32))
            # The optimizer sums gradients over replicas, hence each gives its share of the mean.
            loss = tf.reduce_mean(per_sample) / replicas
            if model.losses:
                loss += tf.add_n(model.losses) / replicas
            scaled = optimizer.scale_loss(loss)
        # The tf.Variables below the Keras ones: under a strategy the tape knows only those.
        gradients = tape.gradient(scaled, [v.value for v in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function  # type: ignore[untyped-decorator]
    def run_chunk(inputs: Any, targets: Any, first: Any, count: Any) -> Any:
        total = tf.constant(0.0)
        for index in tf.range(first, first + count):
            losses = strategy.run(step, args=(inputs, targets, index))
            total += strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)
        # A NaN input does not always reach the loss (relu may make it 0), but its gradient does
        # reach the weights.
        finite = [tf.reduce_all(tf.math.is_finite(v.value)) for v in model.trainable_variables]
        return total, tf.reduce_all(finite)

    return run_chunk
