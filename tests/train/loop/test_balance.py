"""Balanced classes: by weights in the loss or by what batches are drawn; resumed bit for bit."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import pytest
from keras import layers

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import UsageError
from edgeward.runtime.specs import InputSpec
from edgeward.train.datasets.balanced import balanced_epoch, class_weights
from edgeward.train.loop.check import check_balance
from edgeward.train.loop.devices import choose_device
from edgeward.train.loop.feed import TrainingFeed
from edgeward.train.loop.fit import Checkpoint, Plan, fit
from edgeward.train.loop.learner import SupervisedLearner, WeightedLoss
from edgeward.train.recipe import Setting, override
from edgeward.train.recipes import load_recipe

SPEC = InputSpec("tensor", "float32", (4,), ())
CLASSES = np.array([0] * 900 + [1] * 90 + [2] * 10)


class Silent:
    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        pass


def features() -> Array:
    drawn = np.random.default_rng(0).normal(size=(1000, 4)) + CLASSES[:, None]
    return drawn.astype(np.float32)


def feed(classes: Array | None) -> TrainingFeed:
    return TrainingFeed(SPEC, features(), CLASSES, shift=0, seed=3, classes=classes)


def test_each_batch_holds_each_class_as_often() -> None:
    inputs, targets = feed(CLASSES).epoch(0)
    assert len(inputs) == len(targets) == 1000
    for first in range(0, 960, 30):
        assert np.bincount(targets[first : first + 30]).tolist() == [10, 10, 10]
    # The twin: as they come, a batch of 30 has no sample of the rarest class in most cases.
    plain = feed(None).epoch(0)[1]
    assert np.mean([2 not in plain[i : i + 30] for i in range(0, 960, 30)]) > 0.5


def test_every_sample_of_a_rare_class_is_used_and_epochs_differ() -> None:
    order = balanced_epoch(CLASSES, np.random.default_rng(0))
    times = np.bincount(order, minlength=1000)
    assert set(times[990:].tolist()) <= {33, 34}
    assert set(times[900:990].tolist()) <= {3, 4}
    assert set(times[:900].tolist()) == {0, 1}
    seen = np.concatenate([feed(CLASSES).epoch(i)[0] for i in range(12)])
    assert len(np.unique(seen, axis=0)) > 990
    for a, b in zip(feed(CLASSES).epoch(4), feed(CLASSES).epoch(4), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_make_classes_weigh_the_same_and_their_mean_is_one() -> None:
    weights = class_weights(CLASSES)
    of_samples = weights[CLASSES]
    assert of_samples.mean() == pytest.approx(1)
    sums = [of_samples[k == CLASSES].sum() for k in range(3)]
    assert sums == pytest.approx([1000 / 3] * 3)
    assert class_weights(np.array([0, 2, 2])).tolist() == [1.5, 0, 0.75]
    loss = keras.losses.SparseCategoricalCrossentropy(reduction=None)
    outputs = keras.ops.softmax(features()[:, :3])
    plain = np.asarray(loss(CLASSES, outputs))
    for targets in (CLASSES, CLASSES[:, None]):
        got = np.asarray(WeightedLoss(loss, weights)(targets, outputs))
        np.testing.assert_allclose(got, plain * of_samples, rtol=1e-5)


def net() -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model(x, layers.Dense(3, activation="softmax", name="y")(x))


def train(balance: str, start: Checkpoint | None = None) -> tuple[list[Array], list[Checkpoint]]:
    def learner(setting: Setting) -> SupervisedLearner:
        loss = keras.losses.SparseCategoricalCrossentropy(reduction=None)
        if balance == "weights":
            loss = WeightedLoss(loss, class_weights(CLASSES))
        return SupervisedLearner(net, loss, 0.05, setting)

    points: list[Checkpoint] = []
    model = fit(
        Plan(learner=learner, epochs=2, batch_size=50, seed=1, save_every=7),
        feed(CLASSES if balance == "batches" else None),
        choose_device("cpu"),
        reporter=Silent(),
        on_epoch=lambda epoch, model: False,
        save=points.append,
        start=start,
    )
    return model.get_weights(), points


@pytest.mark.parametrize("balance", ["weights", "batches"])
def test_a_resumed_training_ends_with_the_same_bits(balance: str) -> None:
    whole, points = train(balance)
    middle = next(point for point in points if point.steps)
    resumed, _ = train(balance, middle)
    assert all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))
    # The twin: without balance it is another training.
    other, _ = train("none")
    assert not all(np.array_equal(a, b) for a, b in zip(whole, other, strict=True))


def test_without_classes_there_is_nothing_to_balance() -> None:
    check_balance(load_recipe("mnist_cnn"), "weights")
    for name in ("forecast_lstm", "mnist_gan"):
        with pytest.raises(UsageError, match="no classes to balance"):
            check_balance(load_recipe(name), "weights")
    with pytest.raises(UsageError, match="none, weights, batches"):
        override(load_recipe("table").hyperparameters, {"balance": "some"})
