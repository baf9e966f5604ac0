"""What a recipe can bring: vocabularies, its own learner, augmentation, metrics, a late shape."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgeward.runtime.errors import InvalidDataError, InvalidModelError, TrainingError, UsageError
from edgeward.runtime.samples import Samples, load_samples
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine, Lookup, Pad, Tokenize
from edgeward.train.datasets import mnist
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.loop.feed import TrainingFeed
from edgeward.train.loop.learner import descend, under_policy
from edgeward.train.loop.records import Logs
from edgeward.train.loop.scoring import Scorer
from edgeward.train.options import Options
from edgeward.train.pipeline import Trained, train
from edgeward.train.recipe import Hyperparameters, Recipe, Setting, parameter
from edgeward.train.recipes.mnist_cnn import RECIPE, MnistCnn
from edgeward.train.run import Run

SMALL = MnistCnn(epochs=2, filters=2, units=8, batch_size=50, learning_rate=0.02)


class Lines:
    """A console that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        pass

    def epoch(self, row: Mapping[str, float], epochs: int) -> None:
        pass


def run(recipe: Recipe, out: Path, hyper: Any = SMALL, **options: Any) -> Run:
    trained = train(recipe, hyper, Options(out=out, device="cpu", **options), Lines())
    assert isinstance(trained, Trained)
    return Run.open(trained.path)


def some(digits: Dataset, count: int = 500) -> Dataset:
    return replace(
        digits,
        train=digits.train.take(range(count)),
        validation=digits.validation.take(range(100)),
        test=digits.test.take(range(100)),
    )


@pytest.fixture
def small(digits: Dataset) -> Recipe:
    """mnist_cnn on a few hundred digits."""
    return replace(RECIPE, load=lambda path, hyper, say: some(digits))


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def weights_of(run: Run) -> list[np.ndarray]:
    return keras.models.load_model(run.path / "model.keras", compile=False).get_weights()


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ---- augmentation


class Erase(layers.Layer):
    """Makes every training image black: nothing can be learned from it."""

    def call(self, images: Any, training: bool = False) -> Any:
        return images * 0.0 if training else images


def test_augmentation_changes_training_only_and_no_augment_switches_it_off(
    small: Recipe, tmp_path: Path
) -> None:
    black = replace(small, augment=lambda hyper: Erase())
    erased = run(black, tmp_path)
    plain = run(black, tmp_path, augment=False)
    without = run(replace(small, augment=None), tmp_path, augment=False)
    assert same(weights_of(plain), weights_of(without))
    # From black images come the frequencies of the classes, and no convolution kernel moves.
    initial = small.build(SMALL)
    assert erased.info.metrics["test"]["accuracy"] < 0.2
    assert plain.info.metrics["test"]["accuracy"] > 0.25
    assert [run.info.training["augment"] for run in (erased, plain)] == [True, False]
    assert len(initial.layers) == len(
        keras.models.load_model(erased.path / "model.keras", compile=False).layers
    )


def rotate(hyper: Any) -> keras.Layer:
    return keras.Sequential(
        [layers.RandomRotation(0.1), layers.RandomZoom(0.1), layers.RandomTranslation(0.1, 0.1)]
    )


def operations(run: Run) -> set[str]:
    graph = tf.saved_model.load(str(run.path / "saved_model")).signatures["serving_default"].graph
    names = {node.op for node in graph.as_graph_def().node}
    for function in graph.as_graph_def().library.function:
        names |= {node.op for node in function.node_def}
    return names


def test_augmentation_is_in_no_exported_graph(small: Recipe, tmp_path: Path) -> None:
    turned = run(replace(small, augment=rotate), tmp_path)
    plain = run(small, tmp_path, augment=False)
    assert not same(weights_of(turned), weights_of(plain))
    model = keras.models.load_model(turned.path / "model.keras", compile=False)
    assert not any("random" in layer.name for layer in model.layers)
    assert operations(turned) == operations(plain)
    # The twin: where such a layer is part of the model, its operations are found.
    image = keras.Input((28, 28, 1), name="image")
    inside = keras.Model(image, layers.RandomRotation(0.1)(image))

    @tf.function
    def serve(images: Any) -> Any:
        return inside(images, training=True)

    graph = serve.get_concrete_function(tf.TensorSpec((None, 28, 28, 1))).graph.as_graph_def()
    found = {node.op for node in graph.node} | {
        node.op for function in graph.library.function for node in function.node_def
    }
    assert any("Random" in name for name in found)
    assert not any("Random" in name for name in operations(turned))


def test_shift_of_the_recipe_is_switched_off_too(small: Recipe, tmp_path: Path) -> None:
    off = run(small, tmp_path, augment=False)
    none = run(small, tmp_path, replace(SMALL, shift=0))
    on = run(small, tmp_path)
    assert same(weights_of(off), weights_of(none))
    assert not same(weights_of(off), weights_of(on))
    # A recipe whose own hyper-parameter of that name means something else says so.
    assert same(weights_of(off), weights_of(run(replace(small, shift=None), tmp_path)))


# ---- early stopping


def test_patience_stops_and_keeps_the_best_weights(small: Recipe, tmp_path: Path) -> None:
    # A learning rate that soon destroys what was learned.
    hyper = replace(SMALL, epochs=30, learning_rate=0.3)
    stopped = run(small, tmp_path, hyper, patience=2)
    rows = history(stopped.path)
    accuracies = [float(row["validation_accuracy"]) for row in rows]
    best = accuracies.index(max(accuracies)) + 1
    told = stopped.info.training
    assert told == {
        "epochs": best + 2,
        "augment": True,
        "patience": 2,
        "best_epoch": best,
        "stopped_early": True,
        "resumed": 0,
        "samples": 500,
        "notes": [],
        "init": None,
    }
    assert stopped.info.metrics["validation"]["accuracy"] == max(accuracies)
    # The twin: without patience all epochs are trained, and the last weights count.
    rows = history(run(small, tmp_path, replace(hyper, epochs=best + 3)).path)
    assert len(rows) == best + 3


def test_best_means_lowest_for_an_error() -> None:
    specs = {"x": InputSpec("tensor", "float32", (1,), ())}
    assert Scorer(specs, {"y": OutputSpec("regression")}).better(1.0, 2.0)
    assert not Scorer(specs, {"y": OutputSpec("regression")}).better(2.0, 1.0)
    assert Scorer(specs, {"y": OutputSpec("classification")}).better(2.0, 1.0)


# ---- vocabularies

VOCABULARY = b"\n[UNK]\ngood\nbad\nfilm\n"


@dataclass(frozen=True)
class Words(Hyperparameters):
    epochs: int = parameter(8, "passes")
    batch_size: int = parameter(8, "samples per step")
    learning_rate: float = parameter(0.1, "peak")


def sentences(count: int) -> Samples:
    texts = [(b"A good film!", b"A BAD film.")[index % 2] for index in range(count)]
    return Samples({"text": texts}, {"liked": np.arange(1, count + 1, dtype=np.int64) % 2})


def reviews(vocabulary: str = "vocabulary.txt") -> Recipe:
    def load(path: Path | None, hyper: Words, say: Any) -> Dataset:
        splits = {"train": sentences(64), "validation": sentences(16), "test": sentences(20)}
        return Dataset("r", "here", "0" * 64, **splits, vocabularies={vocabulary: VOCABULARY})

    def build(hyper: Words) -> keras.Model:
        text = keras.Input((4,), dtype="int32", name="text")
        x = layers.GlobalAveragePooling1D()(layers.Embedding(5, 4)(text))
        return keras.Model(text, layers.Dense(1, activation="sigmoid", name="liked")(x))

    steps = (Tokenize(), Lookup("vocabulary.txt", 1), Pad(4, 0, "right"))
    return Recipe(
        name="reviews",
        title="",
        dataset="r",
        load=load,
        build=build,
        inputs={"text": InputSpec("text", "uint8", (None,), steps)},
        outputs={"liked": OutputSpec("binary", labels=("no", "yes"), threshold=0.5)},
        hyperparameters=Words(),
        expected={},
        budget=0.01,
    )


def test_text_recipe_trains_and_leaves_its_vocabulary(tmp_path: Path) -> None:
    done = run(reviews(), tmp_path, Words())
    assert (done.path / "vocabulary.txt").read_bytes() == VOCABULARY
    assert done.vocabularies() == {"vocabulary.txt": VOCABULARY}
    assert done.info.metrics["test"]["accuracy"] == 1.0
    assert done.samples("test").inputs["text"][0] == b"A good film!"


def test_vocabulary_of_another_name_is_an_error_before_training(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="no vocabulary"):
        run(reviews("words.txt"), tmp_path, Words())
    assert not tmp_path.joinpath("reviews").exists()


# ---- a learner of the recipe's own, and the task generation


class Imitator:
    """Two models, two optimizers, two losses: a generator and a judge of its brightness."""

    losses = ("generator_loss", "judge_loss")

    def __init__(self, setting: Setting) -> None:
        self.generator = under_policy(setting.policy, generator)
        self.judge = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(1)])
        self.optimizers = [keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01)]
        self.seed = keras.random.SeedGenerator(0)
        for optimizer, model in zip(self.optimizers, (self.generator, self.judge), strict=True):
            optimizer.build(model.trainable_variables)

    @property
    def variables(self) -> list[Any]:
        optimizers = [v for optimizer in self.optimizers for v in optimizer.variables]
        return [*self.generator.variables, *self.judge.variables, *optimizers, self.seed.state]

    def start_epoch(self, number: int) -> bool:
        return False

    def step(self, inputs: Any, targets: Any) -> dict[str, Any]:
        real = tf.cast(targets, tf.float32) / 255
        noise = inputs + keras.random.normal(tf.shape(inputs), stddev=0.01, seed=self.seed)
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(noise, training=True)
            generator_loss = tf.reduce_mean(tf.square(fake - real))
            judge_loss = tf.reduce_mean(tf.square(self.judge(real) - 1))
        descend(tape, generator_loss, self.generator.trainable_variables, self.optimizers[0])
        descend(tape, judge_loss, self.judge.trainable_variables, self.optimizers[1])
        return {"judge_loss": judge_loss, "generator_loss": generator_loss}

    def export(self) -> keras.Model:
        return self.generator

    def learning_rate(self, step: int) -> float:
        return 0.01


def generator() -> keras.Model:
    noise = keras.Input((5,), name="noise")
    x = layers.Dense(784, activation="sigmoid")(noise)
    return keras.Model(noise, layers.Reshape((28, 28, 1), name="image")(x))


def drawing(digits: Dataset, folder: list[tuple[int, str]]) -> Recipe:
    rng = np.random.default_rng(0)

    def noise(count: int) -> dict[str, Any]:
        return {"noise": rng.normal(size=(count, 5)).astype(np.float32)}

    def load(path: Path | None, hyper: Any, say: Any) -> Dataset:
        real = np.asarray(digits.train.inputs["image"][:200])
        return replace(
            digits,
            train=Samples(noise(200), {"image": real}),
            validation=Samples(noise(20)),
            test=Samples(noise(30)),
        )

    def on_epoch(model: keras.Model, epoch: int, where: Path) -> None:
        (where / f"samples_{epoch}.txt").write_text(str(model.output_shape))
        folder.append((epoch, where.name))

    return replace(
        RECIPE,
        name="drawing",
        load=load,
        build=lambda hyper: generator(),
        inputs={"noise": InputSpec("tensor", "float32", (5,), ())},
        outputs={"image": OutputSpec("generation")},
        learner=lambda hyper, setting: Imitator(setting),
        on_epoch=on_epoch,
        evaluate=lambda model, dataset, hyper: {"test": {"distance": float(hyper.epochs)}},
    )


def test_generation_keeps_pairs_of_its_own_outputs_and_every_named_loss(
    digits: Dataset, tmp_path: Path
) -> None:
    seen: list[tuple[int, str]] = []
    done = run(drawing(digits, seen), tmp_path, replace(SMALL, shift=0))
    assert seen == [(1, ".001.partial"), (2, ".001.partial")]
    assert (done.path / "samples_2.txt").read_text() == "(None, 28, 28, 1)"
    assert done.info.metrics["test"] == {"psnr": 100.0, "distance": 2.0}
    rows = history(done.path)
    names = {"epoch", "step_generator_loss", "step_judge_loss", "learning_rate", "seconds"}
    assert set(rows[0]) == names
    assert float(rows[1]["step_generator_loss"]) < float(rows[0]["step_generator_loss"])
    test = done.samples("test")
    model = keras.models.load_model(done.path / "model.keras", compile=False)
    outputs = model.predict_on_batch(test.inputs["noise"])
    np.testing.assert_allclose(test.targets["image"], outputs, atol=1e-6)
    # The twin: the outputs of other noise are no pairs.
    assert np.abs(test.targets["image"][:-1] - outputs[1:]).max() > 1e-3
    assert not load_samples(done.path / "calibration.npz").targets


def test_early_stopping_of_a_generator_is_a_usage_error(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="metric"):
        run(drawing(digits, []), tmp_path, replace(SMALL, shift=0), patience=1)


def test_generation_without_a_learner_is_a_usage_error(digits: Dataset, tmp_path: Path) -> None:
    lost = replace(drawing(digits, []), learner=None)
    with pytest.raises(UsageError, match="no loss for this task"):
        run(lost, tmp_path, replace(SMALL, shift=0))


# ---- a recipe that the data complete


def test_specialise_fits_the_recipe_to_the_data(small: Recipe, tmp_path: Path) -> None:
    def specialise(dataset: Dataset, hyper: MnistCnn) -> Recipe:
        count = len(np.unique(dataset.train.targets["digit"]))
        names = tuple(f"digit {index}" for index in range(count))
        return replace(small, outputs={"digit": OutputSpec("classification", labels=names)})

    open_ended = replace(small, outputs={}, specialise=specialise)
    assert open_ended.tasks == ""
    done = run(open_ended, tmp_path)
    assert (done.path / "labels.txt").read_text().splitlines()[9] == "digit 9"


def test_load_gets_the_hyperparameters(small: Recipe, tmp_path: Path) -> None:
    seen: list[Any] = []

    def load(path: Path | None, hyper: MnistCnn, say: Any) -> Dataset:
        seen.append((path, hyper.units))
        return small.load(path, hyper, say)

    run(replace(small, load=load), tmp_path, data=Path("somewhere"))
    assert seen == [(Path("somewhere"), 8)]


def test_recipe_brings_its_loss_and_its_optimizer(small: Recipe, tmp_path: Path) -> None:
    class Nothing(keras.losses.Loss):
        def call(self, targets: Any, outputs: Any) -> Any:
            return tf.reduce_sum(outputs, axis=-1) * 0.0

    frozen = replace(
        small,
        loss=lambda hyper: Nothing(reduction=None),
        optimizer=lambda hyper, rate: keras.optimizers.SGD(rate),
    )
    keras.utils.set_random_seed(0)
    initial = small.build(SMALL).get_weights()
    assert same(weights_of(run(frozen, tmp_path)), initial)
    assert not same(weights_of(run(small, tmp_path)), initial)


def test_regression_is_trained_in_the_unit_of_the_tensor_and_measured_in_its_own(
    tmp_path: Path,
) -> None:
    def samples(count: int) -> Samples:
        x = np.linspace(-1, 1, count, dtype=np.float32)[:, None]
        return Samples({"x": x}, {"y": 1000 + 50 * x[:, 0]})

    def build(hyper: Any) -> keras.Model:
        x = keras.Input((1,), name="x")
        return keras.Model(x, layers.Dense(1, name="y")(x))

    recipe = Recipe(
        name="line",
        title="",
        dataset="line",
        load=lambda path, hyper, say: Dataset(
            "line", "", "0" * 64, samples(200), samples(20), samples(30)
        ),
        build=build,
        inputs={"x": InputSpec("tensor", "float32", (1,), ())},
        outputs={"y": OutputSpec("regression", postprocessing=(Affine(50.0, 1000.0),))},
        hyperparameters=Hyperparameters(),
        expected={},
        budget=0.05,
    )
    hyper = Hyperparameters(epochs=20, batch_size=20, learning_rate=0.1)
    assert run(recipe, tmp_path, hyper).info.metrics["test"]["rmse"] < 2.5
    # The twin: without the postprocessing the numbers are a thousand, and it learns nothing.
    plain = replace(recipe, outputs={"y": OutputSpec("regression")})
    assert run(plain, tmp_path, hyper).info.metrics["test"]["rmse"] > 250


# ---- recipes that do not fit


def wrong(output: layers.Layer, shape: tuple[int, ...] = (28, 28, 1), name: str = "image") -> Any:
    def build(hyper: Any) -> keras.Model:
        image = keras.Input(shape, name=name)
        return keras.Model(image, output(layers.Flatten()(image)))

    return build


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: wrong(layers.Dense(9, name="digit")), r"received: \[9\].*\[10\]: one value per"),
        (lambda: wrong(layers.Dense(10, name="digits")), "outputs are not those.*'digit'"),
        (lambda: wrong(layers.Dense(10, name="digit"), name="picture"), "inputs are not those"),
        (lambda: wrong(layers.Dense(10, name="digit"), (32, 32, 1)), r"\[28, 28, 1\].*\[32, 32"),
        (lambda: wrong(layers.Conv2D(1, 3)), "cannot be built.*test_hooks.py, line"),
    ],
)
def test_model_that_does_not_fit_is_an_error_before_training(
    small: Recipe, tmp_path: Path, build: Any, said: str
) -> None:
    import re

    with pytest.raises(InvalidModelError) as caught:
        run(replace(small, build=build()), tmp_path)
    assert re.search(said, str(caught.value), re.DOTALL), str(caught.value)
    assert "how to fix" in str(caught.value)
    assert not list(tmp_path.glob("*/*"))


def damaged(digits: Dataset, split: str, change: Any) -> Dataset:
    good = some(digits)
    samples = getattr(good, split)
    images = np.array(samples.inputs["image"])
    targets = np.array(samples.targets["digit"])
    images, targets = change(images, targets)
    return replace(good, **{split: Samples({"image": images}, {"digit": targets})})


def beyond(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    targets[7] = 10
    return images, targets


def poisoned(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images = images.astype(np.float32)
    images[3, 4, 5, 0] = np.nan
    return images, targets


def without_nine(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return images[targets != 9], targets[targets != 9]


@pytest.mark.parametrize(
    ("split", "change", "said"),
    [
        ("train", beyond, "Split train: The target of sample 7 is out of range"),
        ("test", beyond, "Split test: The target of sample 7 is out of range"),
        ("validation", poisoned, r"validation sample 3 holds .* not finite.*nan at \[4, 5, 0\]"),
        ("train", without_nine, "class is missing from the training split.*'9'"),
        ("train", lambda x, y: (x[..., 0], y), r"train sample 0 has the wrong shape.*\[28, 28\]"),
        ("train", lambda x, y: (x, y / 9), "no class indices.*float64"),
    ],
)
def test_data_that_do_not_fit_name_sample_and_field(
    digits: Dataset, small: Recipe, tmp_path: Path, split: str, change: Any, said: str
) -> None:
    import re

    broken = replace(small, load=lambda path, hyper, say: damaged(digits, split, change))
    with pytest.raises(InvalidDataError) as caught:
        run(broken, tmp_path)
    assert re.search(said, str(caught.value), re.DOTALL), str(caught.value)
    assert not list(tmp_path.glob("*/*"))


def test_metric_that_is_not_finite_stops_the_training(small: Recipe, tmp_path: Path) -> None:
    def build(hyper: Any) -> keras.Model:
        image = keras.Input((28, 28, 1), name="image")
        x = layers.Flatten()(image)
        # Right while training, infinite in the test: what only validation can see.
        x = layers.BatchNormalization(
            momentum=1.0, epsilon=0.0, moving_variance_initializer="zeros"
        )(x)
        return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(x))

    with pytest.raises((TrainingError, InvalidDataError), match="not finite"):
        run(replace(small, build=build), tmp_path)


# ---- TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                number = float(tf.make_ndarray(value.tensor))
                found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_tensorboard_logs_hold_the_history(small: Recipe, tmp_path: Path) -> None:
    done = run(small, tmp_path)
    rows = history(done.path)
    of_validation = scalars(done.path / "logs" / "validation")
    assert set(of_validation) == {"loss", "accuracy"}
    expected = [(index, float(row["validation_accuracy"])) for index, row in enumerate(rows, 1)]
    np.testing.assert_allclose(of_validation["accuracy"], expected, rtol=1e-6)
    assert set(scalars(done.path / "logs" / "train")) == {
        *("loss", "accuracy", "step_loss", "learning_rate", "seconds")
    }


def test_resumed_logs_hold_each_epoch_once(tmp_path: Path) -> None:
    rows = [{"epoch": float(n), "train_loss": 1 / n} for n in (1, 2, 3)]
    first = Logs(tmp_path, [])
    for row in rows:
        first.add(row)
    first.close()
    second = Logs(tmp_path, rows[:1])
    second.add(rows[1])
    second.close()
    assert [step for step, _ in scalars(tmp_path / "train")["loss"]] == [1, 2]


# ---- the feed


def test_texts_are_tokenised_with_the_vocabulary_and_shuffled_like_images() -> None:
    recipe = reviews()
    samples = sentences(10)
    feed = TrainingFeed(
        recipe.inputs["text"],
        samples.inputs["text"],
        samples.targets["liked"],
        shift=0,
        seed=0,
        vocabularies={"vocabulary.txt": VOCABULARY},
    )
    ids, targets = feed.epoch(0)
    assert ids.dtype == np.int32
    assert ids[targets == 1].tolist() == [[1, 2, 4, 0]] * 5
    assert ids[targets == 0].tolist() == [[1, 3, 4, 0]] * 5
    assert targets.tolist() != feed.epoch(1)[1].tolist()


def test_list_tells_the_number_of_weights_truly() -> None:
    assert RECIPE.build(RECIPE.hyperparameters).count_params() == RECIPE.weights
    assert json.dumps({name: list(values) for name, values in RECIPE.space.items()})
    assert set(RECIPE.space) <= set(RECIPE.hyperparameters.to_json())
    assert RECIPE.dataset == mnist.NAME
