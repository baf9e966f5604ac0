"""Adversarial training (Goodfellow et al. 2014): a generator against a discriminator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from edgeward.train.loop.learner import Exported, descend, scaled, under_policy
from edgeward.train.recipe import Setting

__all__ = ["AdversarialLearner", "Adversary"]


@dataclass(frozen=True)
class Adversary:
    """One of the two.

    Args:
        build: Makes the untrained model, under the dtype policy in force.
        optimizer: Makes its optimizer of the learning rate.
        rate: Learning rate of all steps.
    """

    build: Callable[[], keras.Model]
    optimizer: Callable[[float], keras.optimizers.Optimizer]
    rate: float


class AdversarialLearner:
    """Trains both in turns: a step of the discriminator, then one of the generator.

    The inputs are the noise, the targets real samples; they are no pairs. The generator maximises
    log D(G(z)) instead of minimising log(1 - D(G(z))): the latter has no gradient as long as the
    discriminator wins. A penalty on the discriminator's slope at real samples keeps the two from
    circling, and with that from dropping modes (R1, Mescheder et al. 2018).

    Args:
        generator: Noise [N, Z] to samples [N, ...].
        discriminator: Samples to the probability [N, 1] that they are real, float32.
        smoothing: What real samples are worth below 1, so that the discriminator never is sure
            (Salimans et al. 2016).
        penalty: Weight of the squared gradient of the discriminator's logit; 0 is none.
        setting: From the loop.
        scale: Factor from targets, of any dtype, to samples.
    """

    losses: tuple[str, ...] = ("discriminator_loss", "generator_loss")

    def __init__(
        self,
        generator: Adversary,
        discriminator: Adversary,
        smoothing: float,
        penalty: float,
        setting: Setting,
        scale: float = 1.0,
    ) -> None:
        self._rate = generator.rate
        self._scale = scale
        self._real = 1.0 - smoothing
        self._penalty = penalty
        self._generator = under_policy(setting.policy, generator.build)
        self._discriminator = under_policy(setting.policy, discriminator.build)
        self._generator_optimizer = _make_optimizer(generator, setting)
        self._discriminator_optimizer = _make_optimizer(discriminator, setting)
        self._generator_optimizer.build(self._generator.trainable_variables)
        self._discriminator_optimizer.build(self._discriminator.trainable_variables)
        self._loss = keras.losses.BinaryCrossentropy(reduction=None)
        self._exported = Exported(generator.build)

    @property
    def variables(self) -> Sequence[Any]:
        """Both models' and both optimizers'."""
        return [
            *self._generator.variables,
            *self._discriminator.variables,
            *self._generator_optimizer.variables,
            *self._discriminator_optimizer.variables,
        ]

    def start_epoch(self, _number: int) -> bool:
        """Return False: all steps are the same."""
        return False

    def step(self, inputs: Any, targets: Any) -> Mapping[str, Any]:
        """Take a step of each; both see the same noise."""
        samples = tf.cast(targets, tf.float32) * self._scale
        with tf.GradientTape() as tape:
            real = self._judge(samples, self._real)
            fake = self._judge(self._generator(inputs, training=True), 0.0)
            discriminator_loss = real + fake
            penalised = discriminator_loss
            if self._penalty:
                penalised += self._penalty * self._slope(samples)
        weights = self._discriminator.trainable_variables
        descend(tape, penalised, weights, self._discriminator_optimizer)
        with tf.GradientTape() as tape:
            generator_loss = self._judge(self._generator(inputs, training=True), 1.0)
        weights = self._generator.trainable_variables
        descend(tape, generator_loss, weights, self._generator_optimizer)
        return {"discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def export(self) -> keras.Model:
        """Return the generator in float32."""
        return self._exported.of(self._generator)

    def learning_rate(self, _step: int) -> float:
        """Return the generator's."""
        return self._rate

    def _judge(self, samples: Any, worth: float) -> Any:
        """Return the mean loss of the discriminator's answers, had they to be ``worth``."""
        answers = self._discriminator(samples, training=True)
        return tf.reduce_mean(self._loss(tf.fill(tf.shape(answers), worth), answers))

    def _slope(self, samples: Any) -> Any:
        """Return the mean squared gradient of the discriminator's logit at ``samples``."""
        with tf.GradientTape() as tape:
            tape.watch(samples)
            answers = self._discriminator(samples, training=True)
            # The logit from the probability; the small number keeps the logarithms finite.
            logits = tf.math.log(answers + 1e-6) - tf.math.log(1 - answers + 1e-6)
        gradient = tf.reshape(tape.gradient(logits, samples), (tf.shape(samples)[0], -1))
        return tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=1))


def _make_optimizer(adversary: Adversary, setting: Setting) -> Any:
    return scaled(adversary.optimizer(adversary.rate), setting.policy)
