"""A user's own model with the user's own data: what is inferred, and what is refused."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import RunPython

from edgeward.convert.arguments import parse_expect, parse_shapes
from edgeward.convert.export.tflite_graph import freeze
from edgeward.convert.measure.reproduce import reproduce
from edgeward.convert.model.load import load_model
from edgeward.convert.samples.golden import choose_golden
from edgeward.convert.source import user as user_source
from edgeward.convert.source.open import open_source
from edgeward.convert.source.source import Source
from edgeward.convert.source.user import UserData, check_expected
from edgeward.convert.worker import inspection
from edgeward.runtime.errors import (
    ConverterError,
    EdgewardError,
    InvalidDataError,
    InvalidModelError,
    InvalidRunError,
    ReproductionError,
    TargetError,
    UsageError,
)
from edgeward.runtime.specs import OutputSpec

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(40, 6)).astype(np.float32)
KIND = (np.arange(40) % 3).astype(np.int64)
SIZE = RANDOM.normal(size=(40, 1)).astype(np.float32)


class Scale(keras.layers.Layer):
    """Code that no file of Keras holds."""

    def call(self, x: Any) -> Any:
        return x * 2


class Mine(keras.Model):
    """A subclassed model."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(3, activation="softmax")

    def call(self, x: Any) -> Any:
        return self.dense(x)


def dense(*layers: Any, shape: tuple[int | None, ...] = (6,), dtype: str = "float32") -> Any:
    return keras.Sequential([keras.Input(shape, dtype=dtype, name="x_in"), *layers])


def two_by_two() -> Any:
    a, b = keras.Input((6,), name="a"), keras.Input((2,), name="b")
    hidden = keras.layers.Dense(5, activation="relu")(keras.layers.Concatenate()([a, b]))
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(hidden)
    return keras.Model([a, b], [kind, keras.layers.Dense(1, name="size")(hidden)])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models of every kind. Read-only."""
    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("models")
    layers = keras.layers
    softmax = dense(layers.Dense(3, activation="softmax", name="kind"))
    softmax.save(folder / "soft max.keras")
    softmax.save(folder / "softmax.h5")
    softmax.export(folder / "served", verbose=False)
    two_by_two().save(folder / "two.keras")
    dense(layers.Dense(1, activation="sigmoid")).save(folder / "sigmoid.keras")
    dense(layers.Dense(1)).save(folder / "linear.keras")
    dense(layers.Dense(3)).save(folder / "logits.keras")
    dense(Scale(), layers.Dense(1)).save(folder / "custom.keras")
    dense(layers.Lambda(lambda x: x * 2), layers.Dense(1)).save(folder / "lambda.keras")
    mine = Mine()
    mine(X)
    mine.save(folder / "mine.keras")
    mine.export(folder / "mine", verbose=False)
    embedding = (layers.Embedding(20, 4), layers.LSTM(3, name="lstm"), layers.Dense(3))
    tokens = dense(*embedding, shape=(None,), dtype="int32")
    tokens.save(folder / "tokens.keras")
    tokens.export(folder / "tokens", verbose=False)
    dense(layers.Flatten(), layers.Dense(3), shape=(4, 4, 1)).save(folder / "image.keras")
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([layers.Dense(3)]).save(folder / "unbuilt.keras")
    return folder


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at models in this process, which has TensorFlow already; the child is tested below."""

    def run(folder: Path, **_: object) -> dict[str, str]:
        inspection.inspect(folder, lambda **event: None)
        return {}

    monkeypatch.setattr(user_source, "run_worker", run)
    # This process is to keep what memory it has.
    monkeypatch.setattr(inspection, "load_tensorflow", lambda memory, tell: None)


Open = Callable[..., Source]


@pytest.fixture
def own(models: Path, tmp_path: Path, near: None) -> Open:
    """Open a model with arrays, texts and JSON that are written to files first."""

    def write(name: str, content: Any) -> Path:
        if isinstance(content, Path):
            return content
        path = tmp_path / (f"{name}.npz" if isinstance(content, dict) else f"{name}.txt")
        if name == "preprocessing":
            path = tmp_path / "p.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        elif isinstance(content, dict):
            np.savez(path, **content)
        else:
            path.write_text(content)
        return path

    def call(model: str, **given: Any) -> Source:
        given.setdefault("calibration", {"x": X[::-1]})
        options = {
            key: value if key in ("shapes", "expect", "timeout") else write(key, value)
            for key, value in given.items()
            if value is not None
        }
        limits = {key: options.pop(key) for key in ("timeout",) if key in options}
        return open_source(models / model, UserData(**options), **limits)

    return call


def notes(source: Source) -> str:
    return "\n".join(source.notes)


# ---- the models


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("soft max.keras", ("x_in",), ("kind",)),
        ("softmax.h5", ("x_in",), ("kind",)),
        ("served", None, ("output_0",)),
        ("two.keras", ("a", "b"), ("kind", "size")),
        ("mine", None, ("output_0",)),
    ],
)
def test_model_of_every_kind_answers_as_tensorflow_does(
    models: Path, model: str, inputs: tuple[str, ...] | None, outputs: tuple[str, ...]
) -> None:
    loaded = load_model(models / model)
    assert inputs in (None, loaded.inputs)
    assert loaded.outputs == outputs
    assert loaded.recurrent == []
    arrays = {s.name: X[:, : s.shape[1]] for s in loaded.signature(None)}
    found = loaded.predict(loaded.check(arrays))
    frozen = freeze(loaded)
    one = frozen(*(tf.constant(arrays[name][:1]) for name in loaded.inputs))
    for name, value in zip(sorted(outputs), one, strict=True):
        np.testing.assert_allclose(value, found[name][:1], atol=1e-6)
    # The twin: other samples get other answers.
    assert not np.allclose(found[outputs[0]][0], found[outputs[0]][1])


def test_sequential_and_saved_model_of_it_give_the_same(models: Path) -> None:
    values = [
        next(iter(load_model(models / name, ["x"], ["y"]).predict({"x": X}).values()))
        for name in ("soft max.keras", "softmax.h5", "served", "mine")
    ]
    np.testing.assert_allclose(values[0], values[1], atol=1e-6)
    np.testing.assert_allclose(values[0], values[2], atol=1e-6)
    assert not np.allclose(values[0], values[3])


@pytest.mark.parametrize("model", ["tokens.keras", "tokens"])
def test_unknown_dimension_asks_for_a_shape_and_takes_it(models: Path, model: str) -> None:
    with pytest.raises(TargetError, match=r"--shape \w+=N with"):
        load_model(models / model, ["x"], ["y"])
    loaded = load_model(models / model, ["x"], ["y"], {"x": (7,)})
    assert loaded.signature(1)[0].shape == (1, 7)
    ids = {"x": np.arange(21, dtype=np.int32).reshape(3, 7) % 20}
    assert loaded.predict(ids)["y"].shape == (3, 3)
    assert loaded.loops is (model == "tokens")
    assert loaded.recurrent == ([] if model == "tokens" else ["lstm"])
    for wrong in ({"x": (7, 2)}, {"z": (7,)}):
        with pytest.raises(UsageError, match="shape"):
            load_model(models / model, ["x"], ["y"], wrong)


def test_shape_that_contradicts_the_model_is_refused(models: Path) -> None:
    with pytest.raises(UsageError, match="does not fit") as caught:
        load_model(models / "soft max.keras", shapes={"x_in": (7,)})
    assert "expected: 6" in str(caught.value)
    assert load_model(models / "soft max.keras", shapes={"x_in": (6,)}).inputs == ("x_in",)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("custom.keras", ("'Scale'", "model.export(")),
        ("mine.keras", ("'Mine'", "model.export(")),
        ("lambda.keras", ("Lambda", "not run", "model.export(")),
        ("unbuilt.keras", ("inputs are not known", "keras.Input")),
    ],
)
def test_model_with_code_of_its_own_says_how_to_export(
    models: Path, model: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidModelError) as caught:
        load_model(models / model)
    # The parent process knows the classes of runtime.errors only.
    assert type(caught.value) is InvalidModelError
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["kind of?", "größe"])
def test_name_that_tensorflow_cannot_trace_is_named(tmp_path: Path, name: str) -> None:
    for where in ("layer", "nested", "model"):
        layer = keras.layers.Dense(3, name=name if where != "model" else "plain")
        inner = [dense(layer)] if where == "nested" else [layer]
        model = dense(*inner)
        model.name = name if where == "model" else "plain"
        model.save(tmp_path / "odd.keras")
        with pytest.raises(InvalidModelError, match="names that TensorFlow cannot hold") as caught:
            load_model(tmp_path / "odd.keras")
        assert name in str(caught.value)
        # What the message advises is enough.
        (model if where == "model" else layer).name = "renamed"
        model.save(tmp_path / "plain.keras")
        freeze(load_model(tmp_path / "plain.keras"))


def test_names_that_tensorflow_can_trace_are_taken(tmp_path: Path) -> None:
    for name in ("_x", "-x", "a.b", "a>b"):
        inputs = keras.Input((6,), name="größe in cm?")
        model = keras.Model(inputs, keras.layers.Dense(3, name=name)(inputs), name="m-1")
        model.save(tmp_path / "fine.keras")
        freeze(load_model(tmp_path / "fine.keras"))
    model.name = "_m"
    model.save(tmp_path / "fine.keras")
    with pytest.raises(InvalidModelError, match="_m"):
        load_model(tmp_path / "fine.keras")


def test_labels_that_cannot_be_read_are_told_once(own: Open, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"none\.txt cannot be used as labels") as caught:
        own(FIRST, test=LABELLED, labels=tmp_path / "none.txt")
    assert str(caught.value).count("received:") == 1
    assert "No such file" in str(caught.value)
    with pytest.raises(InvalidDataError, match="UTF-8"):
        (tmp_path / "latin.txt").write_bytes(b"\xe4\n")
        own(FIRST, test=LABELLED, labels=tmp_path / "latin.txt")


def test_run_whose_classes_only_the_recipe_knows_uses_its_saved_model(
    models: Path, tmp_path: Path
) -> None:
    shutil.copy(models / "mine.keras", tmp_path / "model.keras")
    shutil.copytree(models / "mine", tmp_path / "saved_model")
    with pytest.raises(InvalidModelError):
        load_model(tmp_path / "model.keras", ["x"], ["y"])
    (tmp_path / "run.json").write_text("{}")
    loaded = load_model(tmp_path / "model.keras", ["x"], ["y"])
    assert "Mine" in loaded.note
    assert "saved_model/" in loaded.note
    assert loaded.predict({"x": X})["y"].shape == (40, 3)


# ---- what is inferred


def test_classes_come_from_integer_targets_and_labels(own: Open) -> None:
    source = own(
        "soft max.keras",
        test={"x": X, "y": KIND},
        validation={"in/x_in": X[:20], "out/kind": KIND[:20]},
        labels="ant\nbee\ncat\n",
    )
    assert source.outputs == {"kind": OutputSpec("classification", ("ant", "bee", "cat"))}
    assert source.inputs["x_in"].to_json() == {
        "kind": "tensor", "dtype": "float32", "shape": [6], "preprocessing": [],
    }  # fmt: skip
    assert (source.name, source.run) == ("soft_max", "soft max.keras")
    assert (source.verified, source.user, source.budget) == (True, True, 0.005)
    assert len(source.validation() or ()) == 20
    assert "classification, inferred from integer targets" in notes(source)
    assert "--expect" in notes(source)


@pytest.mark.parametrize(
    ("model", "targets", "task"),
    [
        ("soft max.keras", KIND[:, None].astype(np.uint8), "classification"),
        ("sigmoid.keras", KIND % 2, "binary"),
        ("sigmoid.keras", KIND, "regression"),
        ("linear.keras", SIZE, "regression"),
        ("logits.keras", np.repeat(SIZE, 3, axis=1), "regression"),
        ("logits.keras", KIND, "classification"),
    ],
)
def test_task_follows_the_documented_rule(
    own: Open, model: str, targets: np.ndarray, task: str
) -> None:
    source = own(model, test={"x": X, "y": targets})
    (spec,) = source.outputs.values()
    assert spec.task == task
    assert spec.threshold == (0.5 if task == "binary" else None)
    assert source.budget == (0.05 if task == "regression" else 0.005)
    assert ("no probabilities" in notes(source)) is (task == "classification" and "logits" in model)


@pytest.mark.parametrize(
    ("model", "targets", "words"),
    [
        ("soft max.keras", np.eye(3)[KIND], "argmax"),
        ("soft max.keras", KIND.astype(np.float32), "class indices"),
        ("sigmoid.keras", (KIND % 2).astype(np.float32), "astype('int64')"),
        ("sigmoid.keras", KIND == 1, 'astype("int64")'),
        ("linear.keras", np.repeat(SIZE, 2, axis=1), "out/"),
    ],
)
def test_targets_that_could_mean_two_things_are_asked_about(
    own: Open, model: str, targets: np.ndarray, words: str
) -> None:
    with pytest.raises(InvalidDataError, match="do not say what the output is") as caught:
        own(model, test={"x": X, "y": targets})
    assert words in str(caught.value)


def test_logits_are_no_probabilities_until_a_sigmoid_makes_them(own: Open) -> None:
    test = {"x": X, "y": KIND % 2}
    with pytest.raises(UsageError, match="gives no probability") as caught:
        own("linear.keras", test=test)
    # What the message proposes works as it stands.
    fix = str(caught.value).partition("preprocessing file: ")[2]
    source = own("linear.keras", test=test, preprocessing={"outputs": json.loads(fix)["outputs"]})
    (spec,) = source.outputs.values()
    assert [step.to_json() for step in spec.postprocessing] == [{"step": "sigmoid"}]
    assert "inferred from" not in notes(source).partition("output")[2]


def test_bytes_for_a_float_model_keep_their_values_and_the_note_says_so(own: Open) -> None:
    images = RANDOM.integers(0, 256, (40, 4, 4, 1)).astype(np.uint8)
    source = own("image.keras", calibration={"x": images})
    (spec,) = source.inputs.values()
    assert (spec.kind, spec.dtype, spec.shape) == ("image", "uint8", (4, 4, 1))
    assert [s.to_json() for s in spec.preprocessing] == [
        {"step": "affine", "scale": 1.0, "offset": 0.0}
    ]
    assert "without any scale" in notes(source)
    plain = own("image.keras", calibration={"x": images.astype(np.float32)})
    assert "without any scale" not in notes(plain)


def test_preprocessing_file_names_scales_and_decides(own: Open) -> None:
    images = RANDOM.integers(0, 256, (40, 4, 4, 1)).astype(np.uint8)
    steps = [{"step": "affine", "scale": 0.00392156862745098, "offset": 0.0}]
    given = {"kind": "image", "dtype": "uint8", "shape": [4, 4, 1], "preprocessing": steps}
    output = {"task": "classification", "labels": None, "threshold": None, "postprocessing": []}
    source = own(
        "image.keras",
        calibration={"in/picture": images},
        test={"in/picture": images, "out/animal": KIND},
        labels="a\nb\nc",
        preprocessing={"inputs": {"picture": given}, "outputs": {"animal": output}},
    )
    assert source.inputs["picture"].to_json() == given
    assert source.outputs["animal"].labels == ("a", "b", "c")
    assert "inferred" not in notes(source)
    with pytest.raises(InvalidDataError, match="does not become what the model takes"):
        own(
            "image.keras",
            calibration={"x": images},
            preprocessing={"inputs": {"picture": {**given, "preprocessing": []}}},
        )


def test_two_inputs_and_outputs_are_judged_each_by_its_own(own: Open) -> None:
    calibration = {"in/a": X[::-1], "in/b": X[::-1, :2]}
    inputs = {"in/a": X, "in/b": X[:, :2]}
    both = own(
        "two.keras", calibration=calibration,
        test={**inputs, "out/kind": KIND, "out/size": SIZE}, labels="a\nb\nc",
        expect={"kind.accuracy": 0.5},
    )  # fmt: skip
    assert [both.budget_of(name) for name in both.outputs] == [0.005, 0.05]
    assert both.outputs["kind"].labels == ("a", "b", "c")
    assert both.outputs["size"].labels is None
    assert both.verified
    assert "labels of size" in notes(both)
    one = own("two.keras", calibration=calibration, test={**inputs, "out/kind": KIND})
    assert (one.verified, one.unverified) == (False, ("size",))
    assert "'size' has no targets" in notes(one)


def test_without_test_data_nothing_is_verified(own: Open) -> None:
    source = own("soft max.keras", calibration={"x": X, "y": KIND}, labels="a\nb\nc")
    assert (source.verified, source.unverified) == (False, ("kind",))
    assert source.test.targets == {}
    assert len(source.test) == 40
    assert "unverified" in notes(source)
    values = {"kind": np.eye(3, dtype=np.float32)[KIND]}
    assert reproduce(source, values) == {}
    assert len(choose_golden(source, values)) == 20
    assert own("soft max.keras", test={"x": X, "y": KIND}).verified


def test_expected_metric_must_be_met_within_one_sample(own: Open) -> None:
    test = {"x": X, "y": KIND}
    right = {"kind": np.eye(3, dtype=np.float32)[KIND]}
    wrong = {"kind": np.eye(3, dtype=np.float32)[(KIND + 1) % 3]}
    source = own("soft max.keras", test=test, expect={"accuracy": 0.99})
    assert reproduce(source, right)["kind"].expected == 0.99
    with pytest.raises(ReproductionError, match="you expect"):
        reproduce(source, wrong)
    unclaimed = reproduce(own("soft max.keras", test=test), wrong)["kind"]
    assert (unclaimed.expected, unclaimed.measured) == (None, 0)


# ---- what is refused

NAN = X.copy()
NAN[17, 2] = np.nan
FIRST = "soft max.keras"
NINE_TEXTS = np.full(9, 97, np.uint8)
LABELLED = {"x": X, "y": KIND}


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"calibration": None}, UsageError, ("--calibration",)),
        ({"calibration": {"x": X[:7]}}, InvalidDataError, ("calibration.npz", "7 samples", "8")),
        ({"calibration": {"x": X[:0]}}, InvalidDataError, ("calibration.npz", "empty")),
        ({"calibration": {"y": KIND}}, InvalidDataError, ("no input", "in/NAME")),
        ({"calibration": {"in/image": X}}, InvalidDataError, ("calibration.npz", "in/x_in")),
        ({"calibration": {"x": NAN}}, InvalidDataError, ("calibration.npz: in/x_in", "sample 17")),
        ({"calibration": {"x": X.astype(float)}}, InvalidDataError, ('astype("float32")',)),
        ({"calibration": {"x": X[:, :5]}}, InvalidDataError, ("in/x_in", "[5]", "[6]")),
        ({"calibration": {"x": X[:, None]}}, InvalidDataError, (".reshape(-1, 6)",)),
        ({"calibration": {"x": np.array([{}] * 9)}}, InvalidDataError, ("no pickles",)),
        (
            {"calibration": {"in/x_in": NINE_TEXTS, "in/x_in.offsets": np.arange(10)}},
            InvalidDataError,
            ("texts", "tokenize"),
        ),
        ({"test": {"x": X, "y": KIND[:9]}}, InvalidDataError, ("test.npz", "differ in length")),
        ({"test": {"x": X}}, InvalidDataError, ("test.npz", "no targets", "unverified")),
        ({"test": {"x": X, "y": KIND + 1}}, InvalidDataError, ("out/kind", "sample 2", "0..2")),
        ({"test": {"x": NAN, "y": KIND}}, InvalidDataError, ("test.npz", "in/x_in", "sample 17")),
        ({"test": {"x": X[:5], "y": KIND[:5]}}, InvalidDataError, ("test.npz", "5 samples")),
        ({"test": {"in/x_in": X, "out/sort": KIND}}, InvalidDataError, ("test.npz", "out/kind")),
        ({"test": LABELLED, "labels": "a\nb\n"}, InvalidDataError, ("2 labels", "3, one")),
        ({"test": LABELLED, "labels": "a\n\nc"}, InvalidDataError, ("labels.txt, line 2", "empty")),
        ({"test": LABELLED, "labels": "a\nb\na"}, InvalidDataError, ("labels.txt", "twice", "'a'")),
        ({"test": LABELLED, "labels": ""}, InvalidDataError, ("labels.txt is empty",)),
        ({"preprocessing": "{'inputs': 1}"}, InvalidDataError, ("p.json", "JSON")),
        ({"preprocessing": '{"inputs": {}, "inputs": {}}'}, InvalidDataError, ("duplicate",)),
        ({"preprocessing": {"in": {}}}, InvalidDataError, ("p.json", '"inputs"')),
        (
            {"preprocessing": {"inputs": {"x": {"kind": "tensor", "dtype": "float32", "shape": [6],
                                                "preprocessing": [{"step": "zoom"}]}}}},
            InvalidDataError,
            ("p.json", "zoom", "FORMAT.md"),
        ),
        ({"shapes": {"z": (6,)}}, UsageError, ("no input 'z'", "x_in")),
        ({"expect": {"accuracy": 0.9}}, UsageError, ("nothing to compare", "--test")),
        ({"test": LABELLED, "expect": {"rmse": 0.9}}, UsageError, ("no such metric", "accuracy")),
        ({"test": LABELLED, "expect": {"accuracy": 98.1}}, UsageError, ("fraction",)),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(
    own: Open, given: dict[str, Any], kind: type[EdgewardError], words: tuple[str, ...]
) -> None:
    with pytest.raises(kind) as caught:
        own(FIRST, **given)
    for word in words:
        assert word in str(caught.value)


SPLITS = ("calibration", "validation", "test")


@pytest.mark.parametrize("same", itertools.combinations(SPLITS, 2), ids="-".join)
def test_a_file_is_one_split(own: Open, tmp_path: Path, same: tuple[str, str]) -> None:
    files = {split: tmp_path / f"{split}.npz" for split in SPLITS}
    for i, file in enumerate(files.values()):
        np.savez(file, x=X + np.float32(i), y=KIND)
    # The very same object, another path of the same file, and a copy of it.
    first = files[same[0]]
    copy = tmp_path / "copy.npz"
    shutil.copy(first, copy)
    for second in (first, Path(str(first)), copy):
        with pytest.raises(UsageError, match="the same samples") as caught:
            own(FIRST, **{**files, same[1]: second})
        for split in same:
            assert f"--{split} {tmp_path}" in str(caught.value)
    # The twin: three files are three splits.
    assert own(FIRST, **files).verified


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"calibration": "test"}, ("--calibration", "the run's test")),
        ({"calibration": "validation"}, ("--calibration", "the run's validation")),
        ({"validation": "test"}, ("--validation", "the run's test")),
        ({"validation": "calibration"}, ("--validation", "the run's calibration")),
        ({"validation": "own", "calibration": "own"}, ("--calibration", "--validation")),
    ],
)
def test_a_split_of_a_run_is_no_other_split_of_it(
    run: Path, tmp_path: Path, given: dict[str, str], words: tuple[str, str]
) -> None:
    own = tmp_path / "own.npz"
    shutil.copy(run / "calibration.npz", own)
    files = {
        option: own if split == "own" else run / f"{split}.npz" for option, split in given.items()
    }
    with pytest.raises(UsageError, match="the same samples") as caught:
        open_source(run, UserData(**files))
    for word in words:
        assert f"{word} /" in str(caught.value)
    # The twin: each in its own place.
    assert open_source(
        run, UserData(calibration=own, validation=run / "validation.npz")
    ).calibration


def test_damaged_npz_and_other_files_are_refused(models: Path, own: Open, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 no archive")
    with pytest.raises(InvalidDataError, match=r"bad\.npz is not a usable"):
        own(FIRST, calibration=tmp_path / "bad.npz")
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(InvalidModelError, match="no model that can be converted"):
        open_source(tmp_path / "model.tflite", UserData(calibration=tmp_path / "bad.npz"))
    with pytest.raises(InvalidModelError, match="no such model"):
        open_source(tmp_path / "none.keras")
    with pytest.raises(InvalidRunError, match="no such run"):
        open_source(tmp_path / "none")
    for suffix in (".keras", ".h5"):
        (tmp_path / f"text{suffix}").write_text("hello")
        with pytest.raises(InvalidModelError, match=rf"no \{suffix} file"):
            load_model(tmp_path / f"text{suffix}")
    whole = (models / FIRST).read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidModelError):
        load_model(tmp_path / "half.keras")


def test_options_of_a_model_are_refused_for_a_run(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="A run folder says that itself") as caught:
        open_source(run, UserData(labels=tmp_path / "l.txt", expect={"accuracy": 0.9}))
    assert "--labels, --expect" in str(caught.value)
    source = open_source(run)
    assert source.verified
    assert len(source.validation() or ()) > 0


@pytest.mark.parametrize("item", ["x", "x=", "=3", "x=0", "x=2x", "x=-1", "x=1.5", "x=²"])
def test_shape_option_takes_dimensions_only(item: str) -> None:
    with pytest.raises(UsageError, match="shape"):
        parse_shapes([item])
    assert parse_shapes(["x=3", "y=2x4"]) == {"x": (3,), "y": (2, 4)}


@pytest.mark.parametrize("item", ["accuracy", "=1", "accuracy=", "accuracy=nan", "accuracy=a"])
def test_expect_option_takes_finite_numbers_only(item: str) -> None:
    with pytest.raises(UsageError, match="expected metric"):
        parse_expect([item])
    outputs = {"a": OutputSpec("classification"), "b": OutputSpec("regression")}
    assert check_expected(parse_expect(["b.rmse=2"]), outputs, ["b"]) == {"b.rmse": 2}
    with pytest.raises(UsageError, match="no such metric"):
        check_expected(parse_expect(["rmse=2"]), outputs, ["b"])


# ---- the child process


def test_parent_does_not_import_tensorflow(
    models: Path, tmp_path: Path, run_python: RunPython
) -> None:
    np.savez(tmp_path / "c.npz", x=X)
    code = (
        "import sys; from pathlib import Path; "
        "from edgeward.convert.source.open import open_source; "
        "from edgeward.convert.source.user import UserData; "
        f"source = open_source({str(models / FIRST)!r}, UserData(calibration=Path('c.npz'))); "
        "print(*source.outputs, *({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["kind"]
    # The twin: what the child does would be seen.
    done = run_python("-c", code.replace("print(", "import edgeward.convert.model.load; print("))
    assert "tensorflow" in done.stdout


def test_error_and_end_of_the_child_are_errors_here(models: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", x=X)
    with pytest.raises(InvalidModelError, match=r"custom\.keras") as caught:
        open_source(models / "custom.keras", UserData(calibration=tmp_path / "c.npz"))
    assert "model.export" in str(caught.value)
    with pytest.raises(ConverterError, match="ran out of time"):
        open_source(models / FIRST, UserData(calibration=tmp_path / "c.npz"), timeout=0.05)
    little = 50 * 2**20
    with pytest.raises(ConverterError, match="out of memory while it was at: load") as caught:
        open_source(models / FIRST, UserData(calibration=tmp_path / "c.npz"), memory=little)
    assert "--memory" in str(caught.value)
    # The twin: what the machine has is enough, and without a number it is the limit.
    assert open_source(models / FIRST, UserData(calibration=tmp_path / "c.npz")).name
