"""mnist_gan: two nets in turns, and measures that notice when it goes wrong."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgeward.runtime.arrays import Array
from edgeward.runtime.samples import load_samples
from edgeward.train.console import Console
from edgeward.train.datasets import mnist
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.noise import draw_noise, pair_with_noise
from edgeward.train.options import Options
from edgeward.train.parts.frechet import frechet_distance, train_judge
from edgeward.train.parts.gan import AdversarialLearner, Adversary
from edgeward.train.pipeline import train
from edgeward.train.recipe import Setting, override
from edgeward.train.recipes.mnist_gan import (
    RECIPE,
    MnistGan,
    build,
    build_discriminator,
    evaluate,
    learner,
)
from edgeward.train.results.plots import tile
from edgeward.train.run import Run

SMALL = MnistGan(units=8)


def made(seed: int = 0) -> AdversarialLearner:
    keras.utils.set_random_seed(seed)
    adversaries = learner(SMALL, Setting("float32", 100))
    assert isinstance(adversaries, AdversarialLearner)
    return adversaries


def batch(count: int = 64) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return draw_noise(count, 100, 5), rng.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)


def test_networks_are_those_of_the_table() -> None:
    generator, discriminator = build(MnistGan()), build_discriminator(MnistGan())
    shapes = [[tuple(w.shape) for w in net.weights] for net in (generator, discriminator)]
    assert shapes == [
        [(100, 128), (128,), (128, 784), (784,)],
        [(784, 128), (128,), (128, 1), (1,)],
    ]
    assert generator.output.shape == (None, 28, 28, 1)
    assert generator.count_params() == RECIPE.weights


def test_a_step_changes_both_nets_and_exports_the_generator() -> None:
    adversaries = made()
    before = [variable.numpy().copy() for variable in adversaries.variables]
    exported = adversaries.export()
    first = exported.get_weights()
    losses = adversaries.step(*map(tf.constant, batch()))
    assert set(losses) == set(adversaries.losses)
    assert all(np.isfinite(float(loss)) and float(loss) > 0 for loss in losses.values())
    changed = [
        not np.array_equal(was, now.numpy())
        for was, now in zip(before, adversaries.variables, strict=True)
    ]
    assert all(changed[:8]), "four weights of each net"
    assert adversaries.export().name == "generator"
    assert not np.array_equal(adversaries.export().get_weights()[0], first[0])


@pytest.mark.parametrize(
    ("rates", "falling"),
    [((0.01, 0.0), "generator_loss"), ((0.0, 0.01), "discriminator_loss")],
)
def test_against_an_adversary_that_stands_still_each_net_wins(
    rates: tuple[float, float], falling: str
) -> None:
    keras.utils.set_random_seed(0)
    adversaries = AdversarialLearner(
        Adversary(lambda: build(SMALL), keras.optimizers.Adam, rates[0]),
        Adversary(lambda: build_discriminator(SMALL), keras.optimizers.Adam, rates[1]),
        0.1,
        0.0,
        Setting("float32", 60),
        scale=1 / 255,
    )
    noise, images = batch()
    values = [float(adversaries.step(noise, images)[falling]) for _ in range(60)]
    assert values[-1] < 0.8 * values[0]
    assert values[-1] < values[30]


def test_smoothing_changes_what_real_digits_are_worth() -> None:
    noise, images = batch()
    smooth = float(made().step(noise, images)["discriminator_loss"])
    keras.utils.set_random_seed(0)
    hard = learner(replace(SMALL, smoothing=0.0), Setting("float32", 100))
    assert float(hard.step(noise, images)["discriminator_loss"]) != pytest.approx(smooth, rel=1e-4)


def test_penalty_flattens_the_discriminator_at_real_samples() -> None:
    def slope_after_training(penalty: float) -> float:
        keras.utils.set_random_seed(0)
        adversaries = learner(replace(SMALL, penalty=penalty), Setting("float32", 60))
        assert isinstance(adversaries, AdversarialLearner)
        noise, images = batch()
        step = tf.function(adversaries.step)
        for _ in range(200):
            step(tf.constant(noise), tf.constant(images))
        return float(adversaries._slope(tf.constant(images / np.float32(255))))

    assert slope_after_training(5.0) < 0.5 * slope_after_training(0.0)


def test_noise_is_reproducible_and_differs_between_splits(digits: Dataset) -> None:
    data = pair_with_noise(digits, "image", 100, ("noise", "image"))
    again = pair_with_noise(digits, "image", 100, ("noise", "image"))
    noise = {name: np.asarray(split.inputs["noise"]) for name, split in data.splits.items()}
    assert {name: column.shape for name, column in noise.items()} == {
        "train": (5400, 100),
        "validation": (1000, 100),
        "test": (1000, 100),
    }
    for name, column in noise.items():
        assert column.dtype == np.float32
        np.testing.assert_array_equal(column, again.splits[name].inputs["noise"])
    assert not np.array_equal(noise["validation"], noise["test"])
    assert not np.array_equal(noise["train"][:1000], noise["test"])


def test_distance_is_that_of_normal_distributions() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    one = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6))
    other = rng.normal(size=(3000, 6)) @ rng.normal(size=(6, 6)) + 1
    assert frechet_distance(one, one) < 1e-6
    assert frechet_distance(one, one + 2) == pytest.approx(6 * 4)
    spreads = [np.cov(each, rowvar=False) for each in (one, other)]
    expected = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(
        spreads[0] + spreads[1] - 2 * sqrtm(spreads[0] @ spreads[1]).real
    )
    assert frechet_distance(one, other) == pytest.approx(expected)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))


def test_judge_tells_real_digits_from_noise_and_sees_a_collapse(digits: Dataset) -> None:
    images = np.asarray(digits.train.inputs["image"]) * np.float32(1 / 255)
    truth = digits.train.targets["digit"]
    judge = train_judge(images, truth, epochs=3, seed=0)
    test = np.asarray(digits.test.inputs["image"]) * np.float32(1 / 255)
    real, answers = judge.look(test)
    assert (answers == digits.test.targets["digit"]).mean() > 0.85
    other, _ = judge.look(images[:1500])
    ones, votes = judge.look(images[truth == 1][:500])
    static, _ = judge.look(np.random.default_rng(0).random((1500, 28, 28, 1), np.float32))
    near, collapsed, noise = (frechet_distance(real, each) for each in (other, ones, static))
    assert near < 0.1 * collapsed
    assert near < 0.1 * noise
    assert np.bincount(votes, minlength=10)[1] > 0.9 * len(votes)


def test_evaluation_of_an_untrained_generator_is_a_failure(digits: Dataset) -> None:
    """The twin of the floors: nothing learned, nothing closer, digits missing."""
    data = pair_with_noise(digits, "image", 100, ("noise", "image"))
    keras.utils.set_random_seed(7)
    metrics = evaluate(build(SMALL), data, SMALL)["test"]
    assert metrics["times_closer"] < 1.5
    assert metrics["rarest_digit"] < 0.03


def test_tiles_stand_row_by_row() -> None:
    images = np.arange(6)[:, None, None] * np.ones((6, 2, 3), int)
    np.testing.assert_array_equal(tile(images, 3)[::2, ::3], [[0, 1, 2], [3, 4, 5]])


def test_run_holds_generator_pairs_and_pictures(tmp_path: Path, console: Console) -> None:
    hyper = override(MnistGan(), {"epochs": 2, "units": 16, "batch_size": 100})
    done = train(RECIPE, hyper, Options(out=tmp_path, data=mnist.SUBSET), console)
    assert done is not None
    generator = keras.models.load_model(done.path / "model.keras")
    for name in ("validation", "test"):
        pairs = load_samples(done.path / f"{name}.npz")
        made = np.asarray(generator(np.asarray(pairs.inputs["noise"])))
        np.testing.assert_allclose(pairs.targets["image"], made, atol=1e-6)
    assert list(load_samples(done.path / "calibration.npz").inputs) == ["noise"]
    rows = list(csv.DictReader((done.path / "history.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert {"step_discriminator_loss", "step_generator_loss"} <= set(rows[0])
    for picture in ("samples.png", "samples/001.png", "samples/002.png", "curves.png"):
        assert (done.path / picture).read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((done.path / "run.json").read_text())["metrics"]["test"]
    assert {"psnr", "distance", "times_closer", "rarest_digit"} <= set(metrics)
    assert Run.open(done.path).info.outputs["image"].task == "generation"


@pytest.mark.floor
@pytest.mark.parametrize("seed", range(3))
def test_mnist_gan_makes_all_ten_digits(tmp_path: Path, console: Console, seed: int) -> None:
    done = train(RECIPE, RECIPE.hyperparameters, Options(out=tmp_path, seed=seed), console)
    assert done is not None
    metrics = done.info.metrics["test"]
    assert metrics["judge_accuracy"] > 0.95
    assert metrics["times_closer"] >= 3
    assert metrics["rarest_digit"] >= 0.03
