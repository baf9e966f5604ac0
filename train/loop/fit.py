"""The one training loop, the same for one CPU, one GPU, several GPUs and several workers.

It is custom because Keras 3 ``fit`` fails under MultiWorkerMirroredStrategy (keras#20585), and
because whole chunks of steps run inside one graph, which on two CPU cores costs a third less than
calling a step at a time. The data of an epoch are tensors in memory; every replica takes its part
of each batch by its id, so that each way to distribute trains on the same batches. What a step
does is the learner's business.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError, TrainingError, UsageError
from edgeward.train.loop.devices import Device, agree, check_workers, make_average
from edgeward.train.loop.learner import under_policy
from edgeward.train.recipe import Learner, Setting

__all__ = ["Checkpoint", "Epoch", "Feed", "Plan", "Reporter", "fit", "forward"]

# Steps per graph call: long enough that Python costs nothing, short enough that Ctrl-C and the
# check for a NaN loss come within about a second on a slow machine.
_CHUNK = 50

_FORWARD_BATCH = 500


class Feed(Protocol):
    """Where the loop takes its batches from."""

    size: int

    def epoch(self, number: int) -> tuple[Array, Array]:
        """Return preprocessed inputs and targets of one epoch, shuffled.

        ``number`` counts from 0, and alone decides the order: a resumed training asks again.
        """


class Reporter(Protocol):
    """Who is told how far the training is."""

    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Tell that ``step`` of ``steps`` of an epoch are done; the losses are running means."""


@dataclass(frozen=True)
class Plan:
    """What the loop has to know beyond data and device.

    Args:
        learner: Makes the learner; called under the strategy's scope with the seed set.
        epochs: Passes over the training split, >= 1.
        batch_size: Samples per optimizer step over all replicas together.
        seed: Fixes initial weights, dropout and augmentation. The order is the feed's.
        augment: Makes the layer that changes each batch at random, or None.
        save_every: Steps between the checkpoints within an epoch; 0 saves at its end only.
        fingerprint: A number of everything else that all workers must have in common.
    """

    learner: Callable[[Setting], Learner]
    epochs: int
    batch_size: int
    seed: int
    augment: Callable[[], keras.Layer | None] | None = None
    save_every: int = 0
    fingerprint: int = 0


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    Args:
        number: Counts from 1.
        losses: Name -> mean over the steps of the epoch, on augmented samples.
        learning_rate: Learning rate of the last step.
        seconds: Wall-clock time of the steps, without validation.
    """

    number: int
    losses: Mapping[str, float]
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """Everything that continuing from here needs; the same bits follow as without a stop.

    Args:
        epochs: Finished epochs.
        steps: Finished steps of the epoch after them.
        totals: Sums of the losses over those steps.
        seconds: Wall-clock time of those steps.
        stopped: Whether ``on_epoch`` asked for the end.
        arrays: The learner's variables, then the augmentation's.
    """

    epochs: int
    steps: int
    totals: tuple[float, ...]
    seconds: float
    stopped: bool
    arrays: Sequence[Array]


def fit(
    plan: Plan,
    feed: Feed,
    device: Device,
    *,
    reporter: Reporter,
    on_epoch: Callable[[Epoch, keras.Model], bool],
    save: Callable[[Checkpoint], None] | None = None,
    start: Checkpoint | None = None,
) -> keras.Model:
    """Train a learner.

    Args:
        plan: Learner and schedule.
        feed: Training samples.
        device: Strategy and precision from ``train.loop.devices``.
        reporter: Told after every chunk of steps.
        on_epoch: Called after each epoch with the exported model; True ends the training.
        save: Given a checkpoint after each epoch, when ``on_epoch`` is done with it, and every
            ``plan.save_every`` steps.
        start: Continues from here.

    Returns:
        The exported model with the final weights.

    Raises:
        TrainingError: A loss or a weight is not finite.
        UsageError: The batch does not fit the replicas or the data, or the workers were started
            with different arguments, data or states.
        InvalidDataError: ``start`` belongs to another model.
    """
    strategy = device.strategy
    steps = _count_steps(plan, feed, strategy)
    # Every worker, and every resumed training, starts from the same initial weights.
    keras.utils.set_random_seed(plan.seed)
    with strategy.scope():
        learner = plan.learner(Setting(device.policy, plan.epochs * steps))
        augment = None if plan.augment is None else under_policy("float32", plan.augment)
    variables = [*learner.variables, *([] if augment is None else augment.variables)]
    start = start or Checkpoint(
        epochs=0,
        steps=0,
        totals=(0.0,) * len(learner.losses),
        seconds=0.0,
        stopped=False,
        arrays=[],
    )
    if start.arrays:
        _restore(variables, start.arrays)
    check_workers(strategy, f"{plan.fingerprint} {start.epochs} {start.steps} {feed.size}")
    run_chunk = _make_chunk(plan, learner, augment, variables, strategy)
    average = make_average(strategy, variables)
    stopped = start.stopped

    def checkpoint(epochs: int, done: int, totals: Array, seconds: float) -> None:
        if save is not None:
            arrays = [variable.numpy() for variable in variables]
            sums = tuple(float(total) for total in totals)
            save(
                Checkpoint(
                    epochs=epochs,
                    steps=done,
                    totals=sums,
                    seconds=seconds,
                    stopped=stopped,
                    arrays=arrays,
                )
            )

    for number in range(start.epochs + 1, plan.epochs + 1):
        if stopped:
            break
        if learner.start_epoch(number):
            run_chunk = _make_chunk(plan, learner, augment, variables, strategy)
        fresh = number != start.epochs + 1
        done = 0 if fresh else start.steps
        totals = np.array([0.0] * len(learner.losses) if fresh else start.totals)
        # As if the steps before the stop had been part of this process.
        started = time.perf_counter() - (0.0 if fresh else start.seconds)
        arrays = feed.epoch(number - 1)
        inputs, targets = (tf.convert_to_tensor(array) for array in arrays)
        while done < steps:
            count = _chunk_size(done, steps, (number - 1) * steps, plan.save_every)
            sums, finite = run_chunk(inputs, targets, tf.constant(done), tf.constant(count))
            named = dict(zip(learner.losses, sums.numpy().tolist(), strict=True))
            _check_finite(named, bool(finite), number, done, count, steps)
            totals += sums.numpy()
            done += count
            means = dict(zip(learner.losses, (totals / done).tolist(), strict=True))
            reporter.advance(number, done, steps, means)
            if plan.save_every and done < steps:
                at = (number - 1) * steps + done
                if at % plan.save_every == 0:
                    average()
                    checkpoint(number - 1, done, totals, time.perf_counter() - started)
        average()
        rate = learner.learning_rate(number * steps - 1)
        epoch = Epoch(number, means, rate, time.perf_counter() - started)
        stopped = agree(strategy, on_epoch(epoch, learner.export()))
        checkpoint(number, 0, np.zeros(len(learner.losses)), 0.0)
    return learner.export()


def forward(model: keras.Model, inputs: Array) -> Array:
    """Return the outputs of ``model`` for preprocessed inputs [N, ...], in batches."""
    return np.concatenate(
        [
            np.asarray(model.predict_on_batch(inputs[first : first + _FORWARD_BATCH]))
            for first in range(0, len(inputs), _FORWARD_BATCH)
        ]
    )


def _count_steps(plan: Plan, feed: Feed, strategy: tf.distribute.Strategy) -> int:
    replicas = strategy.num_replicas_in_sync
    steps = feed.size // plan.batch_size
    if plan.batch_size % replicas or steps == 0:
        raise UsageError(
            "The batch size does not fit.",
            received=plan.batch_size,
            expected=f"a multiple of {replicas} (replicas), at most {feed.size} (samples)",
            fix="--batch-size N",
        )
    return steps


def _chunk_size(done: int, steps: int, before: int, save_every: int) -> int:
    """Return how many steps come next: boundaries do not depend on where a training was killed.

    Args:
        done: Finished steps of the epoch.
        steps: Steps of an epoch.
        before: Steps of all epochs before it.
        save_every: See ``Plan``.
    """
    count = min(_CHUNK - done % _CHUNK, steps - done)
    return min(count, save_every - (before + done) % save_every) if save_every else count


def _check_finite(
    losses: Mapping[str, float], weights: bool, epoch: int, done: int, count: int, steps: int
) -> None:
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad or not weights:
        what = f"The {bad[0].replace('_', ' ')}" if bad else "A weight"
        means = ", ".join(f"{name} {value / count}" for name, value in losses.items())
        where = f"steps {done + 1} to {done + count} of {steps}"
        raise TrainingError(
            f"{what} is not finite in epoch {epoch}, {where}.",
            received=means,
            fix="a smaller --learning-rate, if the data are right",
        )


def _restore(variables: Sequence[Any], arrays: Sequence[Array]) -> None:
    expected = [(tuple(variable.shape), str(variable.dtype)) for variable in variables]
    received = [(array.shape, str(array.dtype)) for array in arrays]
    if expected != received:
        raise InvalidDataError(
            "The saved state belongs to another model.",
            received=f"{len(received)} variables {received[:3]}",
            expected=f"{len(expected)} variables {expected[:3]}",
            fix="train anew, without --resume",
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _make_chunk(
    plan: Plan,
    learner: Learner,
    augment: keras.Layer | None,
    variables: Sequence[Any],
    strategy: tf.distribute.Strategy,
) -> Callable[..., Any]:
    replicas = strategy.num_replicas_in_sync
    part = plan.batch_size // replicas

    def step(inputs: Any, targets: Any) -> list[Any]:
        if replicas > 1:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            rows = replica * part + tf.range(part)
            inputs, targets = tf.gather(inputs, rows), tf.gather(targets, rows)
        losses = learner.step(inputs, targets)
        return [tf.cast(losses[name], tf.float32) for name in learner.losses]

    @tf.function  # type: ignore[untyped-decorator]
    def run_chunk(inputs: Any, targets: Any, first: Any, count: Any) -> Any:
        totals = tf.zeros(len(learner.losses))
        for index in tf.range(first, first + count):
            rows = index * plan.batch_size + tf.range(plan.batch_size)
            batch = tf.gather(inputs, rows)
            if augment is not None:
                # The whole batch, so that several replicas draw what one would draw.
                batch = augment(batch, training=True)
            losses = strategy.run(step, args=(batch, tf.gather(targets, rows)))
            totals += tf.stack(
                [strategy.reduce(tf.distribute.ReduceOp.MEAN, each, axis=None) for each in losses]
            )
        # A NaN input does not always reach the loss (relu may make it 0), but its gradient does
        # reach the weights.
        floats = [v.value for v in variables if "float" in str(v.dtype)]
        return totals, tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in floats])

    return run_chunk
