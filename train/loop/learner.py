"""What the loop trains: a learner, which knows its models and how one step changes them.

``SupervisedLearner`` fits one model to targets. A recipe brings its own where that is not what it
does (a GAN: two models, two optimizers, two losses); the loop does not notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from edgeward.train.loop.schedule import OneCycle
from edgeward.train.recipe import Setting

__all__ = [
    "Exported",
    "SupervisedLearner",
    "WeightedLoss",
    "descend",
    "scaled",
    "under_policy",
]


class SupervisedLearner:
    """Fits a model to targets.

    Args:
        build: Makes the untrained model under the dtype policy in force.
        loss: Keras loss without reduction, of (targets, outputs) to one number per sample.
        peak: Largest learning rate of the one-cycle schedule.
        setting: From the loop.
        optimizer: Makes the optimizer of a learning-rate schedule.
        frozen: Names of layers that keep their weights in the first ``frozen_epochs`` epochs, and
            normalise by their stored statistics.
        frozen_epochs: See ``frozen``.
    """

    losses: tuple[str, ...] = ("loss",)

    def __init__(
        self,
        build: Callable[[], keras.Model],
        loss: keras.losses.Loss,
        peak: float,
        setting: Setting,
        optimizer: Callable[[Any], keras.optimizers.Optimizer] = keras.optimizers.Adam,
        frozen: Sequence[str] = (),
        frozen_epochs: int = 0,
    ) -> None:
        self._loss = loss
        self._schedule = OneCycle(peak, setting.steps)
        self._model = under_policy(setting.policy, build)
        self._optimizer = scaled(optimizer(self._schedule), setting.policy)
        # For all variables, also those that are frozen at first.
        self._optimizer.build(self._model.trainable_variables)
        self._exported = Exported(build)
        layers = [self._model.get_layer(name) for name in frozen]
        # A layer that the network's author froze stays frozen.
        self._frozen = [layer for layer in layers if layer.trainable]
        self._frozen_epochs = frozen_epochs
        self._is_frozen = False

    @property
    def variables(self) -> Sequence[Any]:
        """The model's and the optimizer's."""
        return [*self._model.variables, *self._optimizer.variables]

    def start_epoch(self, number: int) -> bool:
        """Freeze the layers that are to be frozen in this epoch, and thaw them afterwards."""
        freeze = bool(self._frozen) and number <= self._frozen_epochs
        changed = freeze != self._is_frozen
        if changed:
            for layer in self._frozen:
                layer.trainable = not freeze
            self._is_frozen = freeze
        return changed

    def step(self, inputs: Any, targets: Any) -> Mapping[str, Any]:
        """Descend along the mean loss, with the model's own penalties (L2 and the like)."""
        with tf.GradientTape() as tape:
            outputs = self._model(inputs, training=True)
            loss = tf.reduce_mean(self._loss(targets, tf.cast(outputs, tf.float32)))
            if self._model.losses:
                loss += tf.add_n(self._model.losses)
        descend(tape, loss, self._model.trainable_variables, self._optimizer)
        return {"loss": loss}

    def export(self) -> keras.Model:
        """Return a float32 model with the present weights."""
        return self._exported.of(self._model)

    def learning_rate(self, step: int) -> float:
        """Return the schedule's value."""
        return float(self._schedule(step))


class Exported:
    """The float32 copy of a model in training; built when it is first asked for, and only once.

    Args:
        build: Makes the untrained model.
    """

    def __init__(self, build: Callable[[], keras.Model]) -> None:
        self._build = build
        self._model: keras.Model | None = None

    def of(self, model: keras.Model) -> keras.Model:
        """Return the copy, with the present weights of the model."""
        if self._model is None:
            self._model = under_policy("float32", self._build)
        self._model.set_weights(model.get_weights())
        return self._model


class WeightedLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss in which each sample weighs what its class weighs.

    Args:
        loss: Without reduction, of (class indices, outputs) to one number per sample.
        weights: Weight of each class, float32 [classes].
    """

    def __init__(self, loss: keras.losses.Loss, weights: Any) -> None:
        super().__init__(reduction=None)
        self._loss = loss
        self._weights = weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the weighted loss of each sample: targets int [N] or [N, 1]."""
        indices = tf.reshape(tf.cast(y_true, tf.int32), (-1,))
        each = tf.reshape(self._loss(y_true, y_pred), (-1,))
        return each * tf.gather(tf.constant(self._weights), indices)


def under_policy(policy: str, build: Callable[[], Any]) -> Any:
    """Return ``build()`` made under a Keras dtype policy, which is put back afterwards."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(before)


def scaled(optimizer: keras.optimizers.Optimizer, policy: str) -> keras.optimizers.Optimizer:
    """Return the optimizer, wrapped where float16 gradients would vanish without scaling."""
    if policy == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def descend(tape: tf.GradientTape, loss: Any, variables: Sequence[Any], optimizer: Any) -> None:
    """Take one optimizer step on the mean of the replicas' losses.

    Args:
        tape: Recorded ``loss``.
        loss: Scalar, the mean over this replica's samples.
        variables: Keras variables to change.
        optimizer: Built for them, perhaps by ``scaled``.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    # The optimizer sums gradients over replicas, hence each gives its share of the mean.
    share = optimizer.scale_loss(tf.constant(1 / replicas))
    # The tf.Variables below the Keras ones: under a strategy the tape knows only those.
    values = [variable.value for variable in variables]
    optimizer.apply(tape.gradient(loss, values, output_gradients=share), variables)
