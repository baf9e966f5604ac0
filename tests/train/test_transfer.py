"""Transfer learning: layers, preprocessing and vocabulary of a run, with another recipe's data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from quiet import Silent, train_quietly
from sentences import write_folder
from support import SUBSET, RunPython

from edgeward.runtime.errors import InvalidModelError, InvalidRunError, UsageError
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import OutputSpec
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.loop.devices import choose_device
from edgeward.train.loop.feed import TrainingFeed
from edgeward.train.loop.fit import Checkpoint, Plan, fit
from edgeward.train.loop.learner import SupervisedLearner, under_policy
from edgeward.train.options import Options
from edgeward.train.pipeline import load_data, train
from edgeward.train.recipe import Recipe, Setting, override
from edgeward.train.recipes import load_recipe
from edgeward.train.run import Run
from edgeward.train.transfer import adopt, count_frozen

Weights = dict[str, list[np.ndarray]]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A net with batch normalisation, trained on the subset."""
    return train_quietly("mnist_edge", tmp_path_factory.mktemp("edge"), SUBSET, epochs=2)


def odd(digits: Dataset, count: int = 200) -> Dataset:
    """Is a digit odd? Few samples to learn from."""

    def only(samples: Samples) -> Samples:
        return Samples(samples.inputs, {"parity": samples.targets["digit"] % 2})

    return replace(
        digits,
        train=only(digits.train.take(range(count))),
        validation=only(digits.validation),
        test=only(digits.test),
    )


def parity(digits: Dataset, count: int = 200) -> Recipe:
    """The recipe of that: mnist_mlp with another head."""
    mlp = load_recipe("mnist_mlp")

    def build(hyper: Any) -> keras.Model:
        image = keras.Input((28, 28, 1), name="image")
        x = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(image))
        return keras.Model(image, keras.layers.Dense(2, activation="softmax", name="parity")(x))

    return replace(
        mlp,
        name="parity",
        build=build,
        load=lambda path, hyper, say: odd(digits, count),
        outputs={"parity": OutputSpec("classification", labels=("even", "odd"))},
    )


def weights_of(model: keras.Model, names: Mapping[str, object] | tuple[str, ...]) -> Weights:
    return {name: model.get_layer(name).get_weights() for name in names}


def same(a: Weights, b: Weights) -> bool:
    return all(np.array_equal(x, y) for name in a for x, y in zip(a[name], b[name], strict=True))


def learn(
    recipe: Recipe, out: Path, epochs: int = 3, batch_size: int = 20, **options: Any
) -> tuple[Run, keras.Model]:
    hyper = override(recipe.hyperparameters, {"epochs": epochs, "batch_size": batch_size})
    trained = train(recipe, hyper, Options(out=out, device="cpu", **options), Silent())
    assert trained is not None
    return Run.open(trained.path), keras.models.load_model(trained.path / "model.keras")


# ---- what is taken over


def test_same_output_takes_over_the_whole_network(edge: Run, digits: Dataset) -> None:
    recipe, dataset = adopt(load_recipe("mnist_cnn"), digits, edge.path)
    assert recipe.transfer is not None
    assert recipe.transfer.head == "kept"
    images = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    before = keras.models.load_model(edge.path / "model.keras")
    after = recipe.build(recipe.hyperparameters)
    np.testing.assert_array_equal(before(images), after(images))
    assert dataset.train is digits.train
    # The twin: untrained weights answer otherwise.
    own = load_recipe("mnist_edge")
    assert not np.allclose(before(images), own.build(own.hyperparameters)(images))


def test_other_labels_get_a_new_head_on_the_same_layers(edge: Run, digits: Dataset) -> None:
    recipe, _ = adopt(parity(digits), odd(digits), edge.path)
    assert recipe.transfer is not None
    assert recipe.transfer.head == "new"
    before = keras.models.load_model(edge.path / "model.keras")
    after = recipe.build(recipe.hyperparameters)
    assert after.output_shape == (None, 2)
    assert [tensor.name for tensor in after.inputs] == ["image"]
    assert after.output_names == ["parity"]
    names = recipe.transfer.layers
    assert len(names) == len(before.layers) - 2  # without input and head
    assert same(weights_of(before, names), weights_of(after, names))
    # Each model has weights of its own: training one leaves the others as they are.
    again = recipe.build(recipe.hyperparameters)
    again.set_weights([weights + 1 for weights in again.get_weights()])
    assert same(weights_of(before, names), weights_of(after, names))
    assert not same(weights_of(before, names), weights_of(again, names))


def test_other_labels_of_the_same_number_get_a_new_head_too(edge: Run, digits: Dataset) -> None:
    recipe = load_recipe("mnist_edge")
    spec = OutputSpec("classification", labels=tuple("abcdefghij"))
    changed, _ = adopt(replace(recipe, outputs={"digit": spec}), digits, edge.path)
    unchanged, _ = adopt(recipe, digits, edge.path)
    assert changed.transfer is not None
    assert unchanged.transfer is not None
    assert (changed.transfer.head, unchanged.transfer.head) == ("new", "kept")


def test_mixed_precision_reaches_the_layers_that_were_taken_over(
    edge: Run, digits: Dataset
) -> None:
    recipe, _ = adopt(load_recipe("mnist_cnn"), digits, edge.path)

    def dtypes(policy: str) -> set[str]:
        model = under_policy(policy, lambda: recipe.build(recipe.hyperparameters))
        return {layer.compute_dtype for layer in model.layers if layer.weights}

    # The softmax stays float32.
    assert dtypes("mixed_bfloat16") == {"bfloat16", "float32"}
    assert dtypes("float32") == {"float32"}


def test_text_is_read_with_the_vocabulary_of_the_run(tmp_path: Path) -> None:
    small = {"length": 12, "units": 4, "embedding": 4, "epochs": 1}
    films = write_folder(tmp_path / "films")
    run = train_quietly("text_lstm", tmp_path / "runs", films, **small)
    mails = tmp_path / "mails"
    for name in ("spam", "ham"):
        (mails / name).mkdir(parents=True)
        for index in range(60):
            text = f"Dear {index} friend, {'win money' if name == 'spam' else 'see you'}"
            (mails / name / f"{index}.txt").write_text(text)
    recipe = load_recipe("text_lstm")
    # A vocabulary of another size, and texts cut elsewhere: the run's count.
    hyper = override(recipe.hyperparameters, {"length": 7, "epochs": 1})
    options = Options(data=mails, init=run.path)
    fitted, dataset = load_data(recipe, hyper, options, Silent())
    own, untouched = load_data(recipe, hyper, Options(data=mails), Silent())
    assert dataset.vocabularies == run.vocabularies()
    assert untouched.vocabularies != run.vocabularies()
    assert fitted.inputs["text"].to_json() == run.info.inputs["text"].to_json()
    assert own.inputs["text"].to_json() != run.info.inputs["text"].to_json()
    finished, model = learn(
        replace(recipe, hyperparameters=hyper), tmp_path / "two", 1, data=mails, init=run.path
    )
    assert model.input_shape == (None, 12)
    assert finished.vocabularies() == run.vocabularies()


# ---- freezing


def test_frozen_layers_keep_weights_and_statistics_and_the_head_learns(
    edge: Run, digits: Dataset, tmp_path: Path
) -> None:
    recipe = parity(digits)
    frozen, model = learn(recipe, tmp_path, init=edge.path, freeze=3)
    before = keras.models.load_model(edge.path / "model.keras")
    names = tuple(layer.name for layer in before.layers[1:-1])
    assert same(weights_of(before, names), weights_of(model, names))
    assert frozen.info.metrics["test"]["accuracy"] > 0.7
    init = frozen.info.training["init"]
    assert init["run"] == "mnist_edge/001"
    assert (init["head"], init["frozen_epochs"]) == ("new", 3)
    # The twin: without freezing they change, the statistics of batch normalisation too.
    _, thawed = learn(recipe, tmp_path, init=edge.path, freeze=0)
    for name in names:
        if before.get_layer(name).weights:
            assert not same(weights_of(before, (name,)), weights_of(thawed, (name,))), name


def test_an_eighth_of_the_epochs_is_frozen_for_a_new_head_alone(edge: Run, digits: Dataset) -> None:
    new = adopt(parity(digits), odd(digits), edge.path)[0].transfer
    kept = adopt(load_recipe("mnist_edge"), digits, edge.path)[0].transfer
    assert count_frozen(new, None, 9) == 2
    assert count_frozen(new, None, 1) == 1
    assert count_frozen(kept, None, 8) == 0
    assert count_frozen(kept, 2, 8) == 2
    assert count_frozen(None, None, 8) == 0
    with pytest.raises(UsageError, match="--freeze 9"):
        count_frozen(new, 9, 8)


def test_layers_that_their_author_froze_stay_frozen(edge: Run, digits: Dataset) -> None:
    recipe, _ = adopt(parity(digits), odd(digits), edge.path)
    assert recipe.transfer is not None
    first, *others = [name for name in recipe.transfer.layers if name.startswith("conv")]

    def build() -> keras.Model:
        model = recipe.build(recipe.hyperparameters)
        model.get_layer(first).trainable = False
        return model

    models: list[keras.Model] = []
    loss = keras.losses.SparseCategoricalCrossentropy(reduction=None)

    def remember() -> keras.Model:
        models.append(build())
        return models[-1]

    learner = SupervisedLearner(
        *(remember, loss, 0.01, Setting("float32", 10)),
        frozen=recipe.transfer.layers,
        frozen_epochs=2,
    )
    flags = []
    for epoch in (1, 2, 3):
        learner.start_epoch(epoch)
        flags.append([models[0].get_layer(name).trainable for name in (first, *others)])
    assert flags == [[False, False], [False, False], [False, True]]


def test_resumed_training_thaws_where_an_undisturbed_one_does(edge: Run, digits: Dataset) -> None:
    recipe, dataset = adopt(parity(digits), odd(digits), edge.path)
    assert recipe.transfer is not None
    layers = recipe.transfer.layers
    some = dataset.train
    spec = recipe.inputs["image"]
    feed = TrainingFeed(spec, some.inputs["image"], some.targets["parity"], shift=1, seed=1)
    loss = keras.losses.SparseCategoricalCrossentropy(reduction=None)

    def run(frozen: int = 1, start: Checkpoint | None = None) -> tuple[list[Any], list[Any]]:
        points: list[Checkpoint] = []
        plan = Plan(
            learner=lambda setting: SupervisedLearner(
                *(lambda: recipe.build(recipe.hyperparameters), loss, 0.01, setting),
                frozen=layers,
                frozen_epochs=frozen,
            ),
            epochs=3,
            batch_size=40,
            seed=1,
            save_every=3,
        )
        model = fit(
            *(plan, feed, choose_device("cpu")),
            reporter=Silent(),
            on_epoch=lambda epoch, model: False,
            save=points.append,
            start=start,
        )
        return model.get_weights(), points

    undisturbed, points = run()
    assert {(point.epochs, point.steps) for point in points} >= {(0, 3), (1, 0), (1, 1)}
    for point in points[:4]:
        weights, _ = run(start=point)
        for a, b in zip(weights, undisturbed, strict=True):
            np.testing.assert_array_equal(a, b)
    # The twin: thawed an epoch later it is another training.
    late, _ = run(frozen=2)
    assert not all(np.array_equal(a, b) for a, b in zip(late, undisturbed, strict=True))


# ---- what it is for


def test_few_digits_are_told_apart_better_with_layers_that_know_digits(
    edge: Run, digits: Dataset, tmp_path: Path
) -> None:
    recipe = parity(digits, count=100)

    def reached(init: Path) -> float:
        run, _ = learn(recipe, tmp_path, 5, init=init, freeze=5)
        return run.info.metrics["test"]["accuracy"]

    untrained = tmp_path / "untrained" / "001"
    shutil.copytree(edge.path, untrained)
    own = load_recipe("mnist_edge")
    own.build(own.hyperparameters).save(untrained / "model.keras")
    assert reached(edge.path) > reached(untrained) + 0.05


def test_command_says_what_it_took_and_leaves_a_run(run: Path, run_python: RunPython) -> None:
    few = ("--samples", "500", "--epochs", "1", "--learning-rate", "0.0005")
    arguments = ("mnist_edge", "--data", SUBSET, "--init", run, *few)
    done = run_python("-m", "train", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert "run mnist_cnn/001, the last layer is kept" in done.stderr
    result = json.loads(done.stdout)
    assert result["metrics"]["test"]["accuracy"] > 0.9
    refused = run_python("-m", "train", *arguments, "--init", "nowhere")
    assert refused.returncode == 5
    assert "no such run folder" in refused.stderr


# ---- what does not go together


def test_samples_are_drawn_class_by_class_and_never_more_than_there_are(digits: Dataset) -> None:
    recipe = replace(load_recipe("mnist_mlp"), load=lambda path, hyper, say: digits)
    hyper = recipe.hyperparameters
    _, few = load_data(recipe, hyper, Options(samples=50), Silent())
    assert np.bincount(few.train.targets["digit"]).tolist() == [5] * 10
    assert len(few.test) == len(digits.test)
    _, other = load_data(recipe, hyper, Options(samples=50, seed=1), Silent())
    assert not np.array_equal(few.train.inputs["image"], other.train.inputs["image"])
    with pytest.raises(UsageError, match="at most 5400"):
        load_data(recipe, hyper, Options(samples=5401), Silent())


def test_what_does_not_go_together_is_refused_with_the_reason(
    edge: Run, digits: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRunError, match="no such run folder"):
        adopt(parity(digits), odd(digits), tmp_path / "nowhere")
    with pytest.raises(UsageError, match="another kind of samples"):
        adopt(load_recipe("table"), digits, edge.path)
    with pytest.raises(UsageError, match="fitted to targets"):
        adopt(load_recipe("mnist_gan"), digits, edge.path)
    with pytest.raises(UsageError, match="nothing to freeze"):
        Options(freeze=1)


@pytest.mark.parametrize("what", ["one layer", "two inputs", "no Keras file"])
def test_network_that_cannot_be_cut_is_an_error_for_people(
    edge: Run, digits: Dataset, tmp_path: Path, what: str
) -> None:
    image = keras.Input((28, 28, 1), name="image")
    flat = keras.layers.Flatten()(image)
    if what == "one layer":
        model = keras.Sequential(
            [image, keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])]
        )
    else:
        model = keras.Model(image, keras.layers.Add()([flat, flat * 2]))
    copy = tmp_path / "001"
    shutil.copytree(edge.path, copy)
    if what == "no Keras file":
        (copy / "model.keras").write_bytes(b"nothing")
    else:
        model.save(copy / "model.keras")
    with pytest.raises(InvalidModelError, match="cannot be"):
        adopt(parity(digits), odd(digits), copy)
