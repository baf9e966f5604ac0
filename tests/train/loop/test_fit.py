"""The training loop on real digits: reproducible, safe against NaN, the same on all devices."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping

import keras
import numpy as np
import pytest

from edgeward.runtime.errors import TrainingError, UsageError
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.train.datasets.balanced import draw_balanced
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.loop.devices import Device, choose_device
from edgeward.train.loop.feed import TrainingFeed, shift_images
from edgeward.train.loop.fit import Epoch, Plan, fit, forward
from edgeward.train.loop.interrupts import Interrupts
from edgeward.train.loop.learner import SupervisedLearner
from edgeward.train.loop.schedule import OneCycle
from edgeward.train.recipe import Setting
from edgeward.train.recipes.mnist_cnn import RECIPE, MnistCnn, build

SPEC = RECIPE.inputs["image"]


class Silent:
    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        pass


def learner(setting: Setting) -> SupervisedLearner:
    return SupervisedLearner(
        lambda: build(MnistCnn(filters=4, units=16)),
        keras.losses.SparseCategoricalCrossentropy(reduction=None),
        0.01,
        setting,
    )


def plan(epochs: int = 1, batch_size: int = 50, seed: int = 0) -> Plan:
    return Plan(learner=learner, epochs=epochs, batch_size=batch_size, seed=seed)


def feed(digits: Dataset, *, shift: int = 1, seed: int = 0, count: int = 1000) -> TrainingFeed:
    some = digits.train.take(range(count))
    return TrainingFeed(SPEC, some.inputs["image"], some.targets["digit"], shift=shift, seed=seed)


def train(
    digits: Dataset, device: Device | None = None, seed: int = 0, epochs: int = 1
) -> keras.Model:
    return fit(
        plan(seed=seed, epochs=epochs),
        feed(digits, seed=seed),
        device or choose_device("cpu"),
        reporter=Silent(),
        on_epoch=lambda epoch, model: False,
    )


def same(a: keras.Model, b: keras.Model) -> bool:
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def test_mnist_cnn_is_the_textbook_network() -> None:
    model = build(RECIPE.hyperparameters)
    assert [type(layer).__name__ for layer in model.layers] == [
        "InputLayer",
        "Conv2D",
        "MaxPooling2D",
        "Flatten",
        "Dense",
        "Dense",
    ]
    shapes = [tuple(weight.shape) for weight in model.trainable_variables]
    assert shapes == [(3, 3, 1, 32), (32,), (5408, 128), (128,), (128, 10), (10,)]
    assert [
        layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")
    ] == [
        "relu",
        "relu",
        "softmax",
    ]
    assert (model.input.name, model.layers[-1].name) == ("image", "digit")


def test_same_seed_gives_bit_identical_weights_and_another_seed_does_not(digits: Dataset) -> None:
    first = train(digits, seed=3)
    assert same(first, train(digits, seed=3))
    assert not same(first, train(digits, seed=4))


def test_training_learns_real_digits(digits: Dataset) -> None:
    model = train(digits, epochs=3)
    answers = forward(model, preprocess_batch(SPEC, digits.test.inputs["image"])).argmax(axis=1)
    assert (answers == digits.test.targets["digit"]).mean() > 0.75


def test_ctrl_c_that_a_callback_swallowed_is_asked_for_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        interrupts.check()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_waits_until_a_file_is_written_whole() -> None:
    reached_the_end = False
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt), interrupts.held():
        signal.raise_signal(signal.SIGINT)
        reached_the_end = True
    assert reached_the_end


class Poisoned:
    """Real digits whose second epoch holds one NaN pixel."""

    def __init__(self, good: TrainingFeed) -> None:
        self.good = good
        self.size = good.size

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = self.good.epoch(number)
        if number == 1:
            inputs[-1, 5, 5] = np.nan
        return inputs, targets


def test_nan_loss_stops_and_the_last_epoch_is_the_last_one_reported(digits: Dataset) -> None:
    finished: list[int] = []
    weights: list[list[np.ndarray]] = []

    def on_epoch(epoch: Epoch, model: keras.Model) -> bool:
        finished.append(epoch.number)
        weights.append(model.get_weights())
        return False

    with pytest.raises(TrainingError, match="epoch 2"):
        fit(
            plan(epochs=3),
            Poisoned(feed(digits)),
            choose_device("cpu"),
            reporter=Silent(),
            on_epoch=on_epoch,
        )
    assert finished == [1]
    assert all(np.isfinite(array).all() for array in weights[0])


def test_batch_that_does_not_fit_is_a_usage_error(digits: Dataset) -> None:
    with pytest.raises(UsageError, match="batch size"):
        fit(
            plan(batch_size=1001),
            feed(digits),
            choose_device("cpu"),
            reporter=Silent(),
            on_epoch=lambda epoch, model: False,
        )


def test_mixed_precision_leaves_a_float32_model(digits: Dataset) -> None:
    device = choose_device("cpu", "mixed")
    assert device.policy == "mixed_bfloat16"
    mixed = train(digits, device)
    assert {layer.compute_dtype for layer in mixed.layers} == {"float32"}
    assert {str(variable.dtype) for variable in mixed.variables} == {"float32"}
    assert not same(mixed, train(digits)), "the half precision was not used"
    assert keras.config.dtype_policy().name == "float32"


def test_gpu_without_a_gpu_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(UsageError, match="no GPU"):
        choose_device("gpu")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cluster": {"worker": ["a:1"]}}'])
def test_damaged_tf_config_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match="TF_CONFIG"):
        choose_device("cpu")


def test_shift_moves_each_image_and_loses_nothing_but_the_border(digits: Dataset) -> None:
    images = np.asarray(digits.train.inputs["image"][:200])
    shifted = shift_images(images, 1, np.random.default_rng(0))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = set()
    for index, image in enumerate(shifted):
        hits = [
            (top, left)
            for top in range(3)
            for left in range(3)
            if np.array_equal(image, padded[index, top : top + 28, left : left + 28])
        ]
        assert hits, f"image {index} is no shift of the original"
        offsets.add(hits[0])
    assert len(offsets) == 9
    assert shifted.dtype == np.uint8


def test_feed_is_a_permutation_fixed_by_seed_and_epoch(digits: Dataset) -> None:
    plain = feed(digits, shift=0)
    inputs, targets = plain.epoch(0)
    again, _ = feed(digits, shift=0).epoch(0)
    np.testing.assert_array_equal(inputs, again)
    assert not np.array_equal(inputs, plain.epoch(1)[0])
    assert not np.array_equal(inputs, feed(digits, shift=0, seed=1).epoch(0)[0])
    assert inputs.dtype == np.float32
    assert inputs.max() == 1.0
    assert np.bincount(targets).tolist() == [100] * 10


def test_augmentation_does_not_touch_the_data_set(digits: Dataset) -> None:
    before = np.asarray(digits.train.inputs["image"]).copy()
    feed(digits, shift=2).epoch(0)
    np.testing.assert_array_equal(digits.train.inputs["image"], before)


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing() -> None:
    schedule = OneCycle(0.01, 100)
    rates = [float(schedule(step)) for step in range(100)]
    assert rates.index(max(rates)) == 30
    assert max(rates) == pytest.approx(0.01)
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates[-1] < 1e-4
    assert min(rates) > 0


@pytest.mark.parametrize("count", [500, 2000])
def test_calibration_is_balanced_in_any_first_part_and_of_the_training_split(
    digits: Dataset, count: int
) -> None:
    drawn = draw_balanced(digits.train, "digit", RECIPE.outputs["digit"], seed=0)
    assert len(drawn) == 2000
    first = drawn.take(range(count))
    assert np.bincount(first.targets["digit"]).tolist() == [count // 10] * 10
    assert len(set(first.targets["digit"][:50].tolist())) == 10, "sorted by class"
    known = {image.tobytes() for image in digits.train.inputs["image"]}
    assert all(image.tobytes() in known for image in drawn.inputs["image"])
    assert len({image.tobytes() for image in drawn.inputs["image"]}) == 2000
