"""The maps of --explain show what decides, the samples are telling ones, the files are there."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from support import SUBSET, RunPython

from edgeward.runtime.errors import InvalidModelError, UsageError
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine, Lookup, Pad, Tokenize
from edgeward.train.explain.attribution import HIRESCAM, INTEGRATED, attribute
from edgeward.train.explain.convolution import traced_map
from edgeward.train.explain.plot import Explained, Words, plot_overview, plot_sample
from edgeward.train.explain.plot_words import printable
from edgeward.train.explain.probe import trace
from edgeward.train.explain.write import choose, file_name, write_explanations
from edgeward.train.loop.interrupts import Interrupts
from edgeward.train.loop.scoring import Scorer
from edgeward.train.options import Options
from edgeward.train.recipe import override
from edgeward.train.recipes import load_recipe
from edgeward.train.run import REQUIRED_FILES

PNG = b"\x89PNG\r\n\x1a\n"
TWO = OutputSpec("classification", labels=("a", "b"))
PLACES = [(16, 4), (1, 21)]


# ---- images of which one patch decides


def patched(count: int, place: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and in one patch of 6 x 6 a bar above (1) or below (0)."""
    rng = np.random.default_rng(seed)
    images = rng.random((count, 28, 28, 1), np.float32) * 0.6
    labels = rng.integers(0, 2, count)
    row, column = place
    images[:, row : row + 6, column : column + 6] = 0
    for image, label in zip(images, labels, strict=True):
        top = row if label else row + 3
        image[top : top + 3, column : column + 6] = 1
    return images, labels


def inside(maps: object, place: tuple[int, int]) -> float:
    """Share of the weights within two pixels of the patch."""
    row, column = (max(at - 2, 0) for at in place)
    values = np.abs(np.stack(maps))
    return float(
        (values[:, row : row + 10, column : column + 10].sum((1, 2)) / values.sum((1, 2))).mean()
    )


def flat_cnn() -> keras.Model:
    image = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 3, activation="relu")(image)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def strided_cnn() -> keras.Model:
    """As mnist_edge, and nested: a backbone within a model, as in every transfer learning."""
    inner = keras.Input((28, 28, 1))
    x = inner
    for filters in (8, 16):
        x = layers.Conv2D(filters, 5, strides=2, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    backbone = keras.Model(inner, x, name="backbone")
    image = keras.Input((28, 28, 1))
    x = layers.Dense(16, activation="relu")(layers.Flatten()(backbone(image)))
    return keras.Model(image, layers.Softmax()(layers.Dense(2)(x)))


def mlp() -> keras.Model:
    image = keras.Input((28, 28, 1))
    x = layers.Dense(16, activation="relu")(layers.Flatten()(image))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def fitted(model: keras.Model, inputs: np.ndarray, labels: np.ndarray, epochs: int = 4) -> float:
    loss = (
        "binary_crossentropy" if model.output.shape[-1] == 1 else "sparse_categorical_crossentropy"
    )
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return model.fit(inputs, labels, epochs=epochs, verbose=0).history["accuracy"][-1]


def answers(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(model(inputs)).argmax(axis=1)


def grad_cam(model: keras.Model, layer: keras.Layer, images: np.ndarray) -> np.ndarray:
    """The textbook's: weights of the channels are means of the gradient over the map."""
    inner = keras.Model(model.input, [layer.output, model.output])
    with tf.GradientTape() as tape:
        maps, chances = inner(images)
        score = tf.reduce_sum(tf.math.log(tf.reduce_max(chances, 1)))
    weights = tf.reduce_mean(tape.gradient(score, maps), (1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, -1, keepdims=True))
    return np.asarray(tf.image.resize(heat, (28, 28)))[..., 0]


@pytest.mark.parametrize(
    ("build", "method", "floor", "place"),
    [
        (flat_cnn, HIRESCAM, 0.4, PLACES[0]),
        (strided_cnn, HIRESCAM, 0.4, PLACES[1]),
        (mlp, INTEGRATED, 0.25, PLACES[0]),
    ],
)
def test_the_weights_of_an_image_lie_where_the_class_is_decided(
    build: object, method: str, floor: float, place: tuple[int, int]
) -> None:
    keras.utils.set_random_seed(0)
    model = build()
    images = patched(10, place, seed=9)[0]
    untrained = attribute(model, TWO, images, answers(model, images), kind="image")
    assert fitted(model, *patched(1000, place)) > 0.98
    found = attribute(model, TWO, images, answers(model, images), kind="image")
    assert found.method == method
    assert all(
        weights.shape == (28, 28) and weights.dtype == np.float32 for weights in found.weights
    )
    chance = 0.2  # an eighth of the pixels, a bit more of the light
    assert inside(found.weights, place) > floor
    # The twins: an untrained model, and another place.
    assert inside(untrained.weights, place) < min(floor, chance + 0.05)
    other = PLACES[1 - PLACES.index(place)]
    assert inside(found.weights, other) < chance


def test_grad_cam_forgets_the_place_where_the_map_is_flattened() -> None:
    keras.utils.set_random_seed(0)
    model = flat_cnn()
    fitted(model, *patched(1000, PLACES[0]))
    images = patched(10, PLACES[0], seed=9)[0]
    ours = inside(
        attribute(model, TWO, images, answers(model, images), kind="image").weights, PLACES[0]
    )
    heat = grad_cam(model, model.layers[1], images)
    # Why HiResCAM: this is no more than the patch's share of the light.
    assert inside(heat + 1e-9, PLACES[0]) < 0.25 < 0.4 < ours


def test_hirescam_is_grad_cam_where_the_model_averages_its_map() -> None:
    keras.utils.set_random_seed(1)
    image = keras.Input((28, 28, 1))
    maps = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    mean = layers.GlobalAveragePooling2D()(maps)
    model = keras.Model(image, layers.Dense(2, activation="softmax")(mean))
    images = patched(3, PLACES[0])[0]
    found = attribute(model, TWO, images, answers(model, images), kind="image")
    ours = np.maximum(np.stack(found.weights), 0)
    theirs = grad_cam(model, model.layers[1], images)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one / one.max(), other / other.max(), atol=1e-4)


def test_the_map_is_the_last_fine_one_and_its_places_are_those_of_the_kernels() -> None:
    model = strided_cnn()
    images = patched(1, PLACES[0])[0]
    found = traced_map(trace(model, images), images.shape[1:])
    assert found is not None
    assert found.call.shape == (1, 12, 12, 8)
    assert isinstance(found.call.layer, layers.ReLU)
    # The first of the 12 sees pixels 0 to 4.
    assert (found.grids[0].first, found.grids[0].step) == (2, 2)
    same = keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Conv2D(2, 3, strides=2, padding="same")]
    )
    place = traced_map(trace(same, images), images.shape[1:])
    # TensorFlow pads 1 in all, at the end.
    assert place is not None and (place.grids[1].first, place.grids[1].step) == (1, 2)
    assert traced_map(trace(mlp(), images), images.shape[1:]) is None


def test_tracing_leaves_the_model_as_it_was() -> None:
    model = strided_cnn()
    images = patched(3, PLACES[0])[0]
    before = np.asarray(model(images))
    attribute(model, TWO, images, np.array([0, 1, 0]), kind="image")
    np.testing.assert_array_equal(np.asarray(model(images)), before)
    assert all("call" not in vars(layer) for layer in model.get_layer("backbone").layers)


# ---- sums of weights, saturation


@pytest.mark.parametrize("saturated", [1, 1000])
def test_weights_add_up_to_the_change_of_the_log_odds_even_where_softmax_is_saturated(
    saturated: float,
) -> None:
    keras.utils.set_random_seed(2)
    features = keras.Input((5,))
    x = layers.Dense(16, activation="tanh")(features)
    model = keras.Model(features, layers.Dense(3, activation="softmax")(x))
    last = model.layers[-1]
    last.kernel.assign(last.kernel * saturated)
    spec = OutputSpec("classification", labels=("a", "b", "c"))
    rows = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    chosen = answers(model, rows)
    found = attribute(model, spec, rows, chosen, kind="tensor")
    hidden = keras.Model(model.input, x)
    for row, answer, weights in zip(rows, chosen, found.weights, strict=True):
        logits = np.asarray(hidden(np.stack([row, 0 * row]))) @ last.kernel.numpy()
        others = np.delete(logits.astype(np.float64), answer, axis=1)
        top = others.max(axis=1)
        odds = logits[:, answer] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))
        assert weights.sum() == pytest.approx(odds[0] - odds[1], rel=0.03)


def test_a_regression_is_explained_in_the_unit_of_its_target() -> None:
    features = keras.Input((2,))
    model = keras.Model(features, layers.Dense(1)(features))
    model.set_weights([np.array([[3.0], [-1.0]]), np.array([7.0])])
    spec = OutputSpec("regression", postprocessing=(Affine(10.0, 100.0),))
    found = attribute(
        model, spec, np.array([[1, 2]], np.float32), np.zeros(1, np.int64), kind="tensor"
    )
    np.testing.assert_allclose(found.weights[0], [30, -20], rtol=1e-5)


def test_one_informative_feature_of_a_table_gets_the_weight() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 6)).astype(np.float32)
    decisive = 4
    features = keras.Input((6,))
    x = layers.Dense(16, activation="relu")(features)
    model = keras.Model(features, layers.Dense(2, activation="softmax")(x))
    fitted(model, rows, (rows[:, decisive] > 0).astype(int), epochs=8)
    clear = rows[np.abs(rows[:, decisive]) > 0.7][:20]
    found = attribute(model, TWO, clear, answers(model, clear), kind="tensor")
    largest = np.abs(np.stack(found.weights)).argmax(axis=1)
    assert (largest == decisive).mean() > 0.9
    # The twin: with the weights of the first layer shuffled it is not.
    kernel, *others = model.get_weights()
    model.set_weights([kernel[[5, 0, 1, 2, 3, 4]], *others])
    found = attribute(model, TWO, clear, answers(model, clear), kind="tensor")
    assert (np.abs(np.stack(found.weights)).argmax(axis=1) == decisive).mean() < 0.5


# ---- text

FILLERS = ("the", "film", "was", "a", "long", "one", "with", "some", "music", "and", "people")
TOKENS = [*FILLERS, "great", "awful"]
VOCABULARY = "".join(f"{token}\n" for token in ("", "[UNK]", *TOKENS)).encode()
TEXT = InputSpec("text", "uint8", (None,), (Tokenize(), Lookup("v.txt", 1), Pad(12, 0, "left")))
MOOD = OutputSpec("binary", labels=("bad", "good"), threshold=0.5)


def moods(count: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    texts, labels = [], rng.integers(0, 2, count)
    for label in labels:
        words = rng.choice(FILLERS, 7).tolist()
        words.insert(int(rng.integers(0, 8)), ("awful", "great")[label])
        texts.append(" ".join(words).encode())
    return Samples({"text": texts}, {"label": labels})


def reader() -> keras.Model:
    ids = keras.Input((12,), dtype="int32", name="text")
    x = layers.LSTM(12)(layers.Embedding(2 + len(TOKENS), 12)(ids))
    return keras.Model(ids, layers.Dense(1, activation="sigmoid", name="label")(x))


@pytest.fixture(scope="module")
def mood_reader() -> keras.Model:
    keras.utils.set_random_seed(0)
    model, scorer = reader(), Scorer({"text": TEXT}, {"label": MOOD}, {"v.txt": VOCABULARY})
    train = moods(1500)
    assert fitted(model, scorer.tensors(train), train.targets["label"], epochs=6) > 0.97
    return model


class Talk:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def session(
    test: Samples, inputs: InputSpec, output: OutputSpec, count: int, **dataset: object
) -> SimpleNamespace:
    """What explaining needs of a finished training."""
    names = next(iter(test.inputs)), next(iter(test.targets))
    scorer = Scorer({names[0]: inputs}, {names[1]: output}, {"v.txt": VOCABULARY})
    data = SimpleNamespace(test=test, **dataset)
    console, options = Talk(), Options(explain=count)
    setup = SimpleNamespace(dataset=data, console=console, options=options, interrupts=Interrupts())
    return SimpleNamespace(scorer=scorer, setup=setup)


def explained(folder: Path, model: keras.Model, of: SimpleNamespace) -> dict[str, object]:
    outputs = of.scorer.predict(model, of.setup.dataset.test)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_explanations(folder, model, of, outputs)
    return json.loads((folder / "explain" / "explain.json").read_text())


def test_the_word_that_decides_gets_the_largest_weight(
    tmp_path: Path, mood_reader: keras.Model
) -> None:
    def share(model: keras.Model) -> tuple[float, int]:
        """How often the word is right, where the text decides at all, and how often it does."""
        report = explained(tmp_path, model, session(moods(40, seed=5), TEXT, MOOD, 10))
        assert (report["skipped"], report["method"]) == (None, INTEGRATED)
        hits = []
        for one in report["samples"]:
            weights = [word["weight"] for word in one["words"]]
            # The sum of the weights leads from the default to the score.
            odds = np.log(one["score"] / (1 - one["score"]))
            assert one["without"] + sum(weights) == pytest.approx(odds, abs=1)
            # One class may be what the model answers to an empty text, and needs no word.
            if one["without"] < 0:
                largest = one["words"][int(np.abs(weights).argmax())]["word"]
                hits.append(largest in ("great", "awful"))
        return float(np.mean(hits)), len(hits)

    found, decided = share(mood_reader)
    assert found > 0.9
    assert decided >= 3
    # The twin: the same check on an untrained model.
    keras.utils.set_random_seed(3)
    assert share(reader())[0] < 0.6


def test_words_stand_for_and_against_their_own_answer(
    tmp_path: Path, mood_reader: keras.Model
) -> None:
    texts = [b"the film was great", b"the film was awful", b"qwertz great " + b"it " * 14]
    test = Samples({"text": texts}, {"label": np.array([1, 0, 1])})
    report = explained(tmp_path, mood_reader, session(test, TEXT, MOOD, 3))
    samples = {one["index"]: one for one in report["samples"]}
    for index in (0, 1):
        words = samples[index]["words"]
        assert [word["word"] for word in words] == texts[index].decode().split()
        if samples[index]["without"] < 0:
            assert words[3]["weight"] > 1  # for "bad" as for "good"
    assert [word["known"] for word in samples[2]["words"][:2]] == [False, True]
    assert len(samples[2]["words"]) == 12
    assert samples[2]["words_not_read"] == 4


# ---- the choice of samples


def test_the_surest_wrong_answers_come_first_then_right_ones_of_each_class() -> None:
    spec = OutputSpec("classification", labels=("a", "b", "c"))
    truth = np.array([0, 0, 0, 1, 1, 2, 2, 0, 1, 2])
    sure = np.array([0.9, 0.8, 0.7, 0.9, 0.6, 0.7, 0.8, 0.95, 0.5, 0.99], np.float32)
    given = truth.copy()
    given[[4, 7, 8, 9]] = [2, 1, 0, 0]
    outputs = np.tile(((1 - sure) / 2)[:, None], 3).astype(np.float32)
    outputs[np.arange(10), given] = sure
    assert choose(spec, outputs, truth, 6) == [9, 7, 4, 0, 3, 5]
    assert choose(spec, outputs, truth, 1) == [9]
    # All of them, once each; and where one half is short, the other gives more.
    assert sorted(choose(spec, outputs, truth, 99)) == list(range(10))
    assert choose(spec, outputs, truth, 9)[:4] == [9, 7, 4, 8]
    assert choose(spec, outputs, given, 4) == [0, 3, 4, 1]  # no wrong ones: each class in turn
    # The twin: the same answers with another truth are other mistakes.
    other = truth.copy()
    other[0] = 1
    assert choose(spec, outputs, other, 6)[2] == 0


def test_a_binary_answer_no_is_as_sure_as_its_yes() -> None:
    outputs = np.array([[0.05], [0.6], [0.9], [0.4]], np.float32)
    assert choose(MOOD, outputs, np.array([1, 0, 1, 0]), 2) == [0, 3]


def test_a_regression_shows_its_largest_errors() -> None:
    outputs = np.zeros((10, 1), np.float32)
    targets = np.array([0, 1, 0, -9, 0, 0, 0, 5, 0, 0], np.float32)[:, None]
    chosen = choose(OutputSpec("regression"), outputs, targets, 4)
    assert chosen[:2] == [3, 7]
    assert len(set(chosen)) == 4
    # The twin: with other targets they are others.
    targets[0] = 20
    assert choose(OutputSpec("regression"), outputs, targets, 4)[:2] == [0, 3]
    assert sorted(choose(OutputSpec("regression"), outputs, targets, 99)) == list(range(10))


# ---- what cannot be explained


def test_generation_is_refused_before_training() -> None:
    from quiet import Silent

    from edgeward.train.loop.session import Session, Setup

    recipe = load_recipe("mnist_gan")
    hyper = override(recipe.hyperparameters, {})
    data = SimpleNamespace(vocabularies={}, train=Samples({"noise": np.zeros((4, 2))}, {}))
    setup = Setup(recipe, hyper, Options(explain=3), None, data, Silent(), Interrupts())
    with pytest.raises(UsageError, match="no answer to explain"):
        Session(setup)
    Session(replace(setup, options=Options()))


def test_a_model_that_cannot_be_explained_keeps_its_training(tmp_path: Path) -> None:
    ids = keras.Input((12,), dtype="int32", name="text")
    x = layers.Rescaling(0.1)(ids)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="label")(x))
    of = session(moods(10), TEXT, MOOD, 4)
    (tmp_path / "explain").mkdir()
    (tmp_path / "explain" / "0001-of-a-killed-process.png").write_bytes(b"half")
    report = explained(tmp_path, model, of)
    assert "no layer" in report["skipped"]
    assert report["samples"] == []
    assert "Nothing is explained" in of.setup.console.lines[0]
    assert [path.name for path in (tmp_path / "explain").iterdir()] == ["explain.json"]
    tensors = of.scorer.tensors(of.setup.dataset.test)
    with pytest.raises(InvalidModelError, match="Integers"):
        attribute(model, MOOD, tensors, np.zeros(10, np.int64), kind="text")


def test_an_answer_without_a_gradient_is_an_error_with_a_name() -> None:
    features = keras.Input((3,))
    model = keras.Model(features, layers.Dense(1)(keras.ops.sign(features) * 0 + 1))
    spec = OutputSpec("regression")
    rows = np.ones((1, 3), np.float32)
    keras_round = keras.Model(features, layers.Dense(1)(keras.ops.cast(features > 0, "float32")))
    with pytest.raises(InvalidModelError, match="no gradient"):
        attribute(keras_round, spec, rows, np.zeros(1, np.int64), kind="tensor")
    assert attribute(model, spec, rows, np.zeros(1, np.int64), kind="tensor").weights[0].shape == (
        3,
    )


# ---- files and pictures


def test_file_names_are_plain_whatever_a_label_holds() -> None:
    assert file_name(42, "4", "9", False) == "0042-wrong-4-as-9.png"
    assert file_name(7, "../../etc", "../../etc", True) == "0007-right-etc.png"
    assert file_name(12345, "äöü", "a/b\\c:d*?", False) == "12345-wrong-x-as-a-b-c-d.png"
    assert file_name(3, "1.5", "2.5", None) == "0003.png"
    assert len(file_name(0, "x" * 500, "y" * 500, False)) < 100


def test_odd_texts_are_drawn_without_a_warning(tmp_path: Path) -> None:
    odd = [
        "$is$",
        "\\frac{",
        "👍🏽",
        "中文",
        "e\u0301",
        "\u202egood",
        "\x7f\x01",
        "w" * 300,
        "",
        "ẞ",
    ]
    weights = np.linspace(-1, 1, len(odd)).astype(np.float32)
    words = Words(tuple(odd), weights, (True, False) * (len(odd) // 2), 3)
    label = "$x$ 中_^\t"
    one = Explained(0, label, label * 20, False, 0.5, b"", False, weights, 1.0, words, (), "a.png")
    table = Explained(
        1, label, label, True, 0.5, weights, False, weights, None, None, tuple(odd), "b.png"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, sample in (("a.png", one), ("b.png", table)):
            plot_sample(tmp_path / name, sample)
            plot_overview(tmp_path / f"all-{name}", [sample, sample])
    assert {path.read_bytes()[:8] for path in tmp_path.iterdir()} == {PNG}
    assert printable("中") == "\ufffd"


def test_series_and_color_images_are_explained_and_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    window = keras.Input((9, 2), name="years")
    model = keras.Model(window, layers.Dense(1, name="next")(layers.LSTM(4)(window)))
    test = Samples(
        {"years": rng.normal(size=(7, 9, 2)).astype(np.float32)},
        {"next": rng.normal(size=(7, 1)).astype(np.float32)},
    )
    of = session(test, InputSpec("tensor", "float32", (9, 2), ()), OutputSpec("regression"), 4)
    report = explained(tmp_path, model, of)
    assert [np.shape(one["weights"]) for one in report["samples"]] == [(9, 2)] * 4
    assert report["samples"][0]["right"] is None

    # Pixels as they are: the model scales them itself, so the path starts behind that layer.
    image = keras.Input((12, 16, 3), dtype="uint8", name="image")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.Dense(2, activation="softmax", name="kind")(x))
    pixels = rng.integers(0, 256, (6, 12, 16, 3), np.uint8)
    test = Samples({"image": pixels}, {"kind": np.array([0, 1, 0, 1, 0, 1])})
    of = session(test, InputSpec("image", "uint8", (None, None, 3), ()), TWO, 3)
    report = explained(tmp_path, model, of)
    assert report["skipped"] is None
    assert report["layer"] is not None
    assert len(list((tmp_path / "explain").glob("*.png"))) == 4


def test_command_line_writes_pictures_beside_the_rest(
    tmp_path: Path, run_python: RunPython
) -> None:
    arguments = ("-m", "train", "mnist_cnn", "--data", SUBSET, "--epochs", "1", "--explain", "6")
    done = run_python(*arguments, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "Explained 6 test samples by HiResCAM" in done.stderr
    run = tmp_path / "runs" / "mnist_cnn" / "001"
    assert all((run / name).is_file() for name in REQUIRED_FILES)
    report = json.loads((run / "explain" / "explain.json").read_text())
    samples = report["samples"]
    assert (report["method"], report["task"], len(samples)) == (HIRESCAM, "classification", 6)
    assert [one["right"] for one in samples] == [False] * 3 + [True] * 3
    assert sorted((one["score"] for one in samples[:3]), reverse=True) == [
        one["score"] for one in samples[:3]
    ]
    pictures = {path.name: path.read_bytes() for path in (run / "explain").glob("*.png")}
    assert set(pictures) == {"overview.png", *(one["file"] for one in samples)}
    assert all(data.startswith(PNG) and len(data) > 5000 for data in pictures.values())
    with np.load(run / "test.npz") as test:
        truth = test["out/digit"]
    assert all(str(truth[one["index"]]) == one["truth"] for one in samples)
