"""A model of layers and one of a graph answer the same questions; what is gone is said."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgeward.convert.model.keras_model import KerasModel
from edgeward.convert.model.load import load_model
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.model.saved_model import SavedModel
from edgeward.convert.weights.equalise import equalised
from edgeward.convert.weights.qat import fine_tune
from edgeward.runtime.errors import TargetError

X = np.random.default_rng(2).normal(size=(40, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    layers = [keras.layers.Dense(5, activation="relu"), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((6,), name="a"), *layers])
    model.save(folder / "m.keras")
    model.export(folder / "served", verbose=False)
    return folder


@pytest.fixture(params=["m.keras", "served"])
def loaded(models: Path, request: pytest.FixtureRequest) -> LoadedModel:
    """The model, with other names than its own."""
    return load_model(models / request.param, ["picture"], ["kind"])


def test_both_answer_the_same_questions(models: Path, loaded: LoadedModel) -> None:
    layered = load_model(models / "m.keras", ["picture"], ["kind"])
    np.testing.assert_allclose(
        loaded.predict({"picture": X})["kind"], layered.predict({"picture": X})["kind"], atol=1e-6
    )
    (taken,), (given,) = loaded.signature(None), loaded.results()
    assert (taken.name, list(taken.shape), taken.dtype) == ("picture", [None, 6], tf.float32)
    assert (given.name, list(given.shape), given.dtype) == ("kind", [None, 3], tf.float32)
    assert [tuple(one.value.shape) for one in loaded.variables] == [(6, 5), (5,), (5, 3), (3,)]
    assert (loaded.recurrent, loaded.loops) == ([], False)


def test_what_only_layers_know_is_said_to_be_gone(models: Path) -> None:
    layered, graph = load_model(models / "m.keras"), load_model(models / "served")
    assert isinstance(layered, KerasModel)
    assert isinstance(graph, SavedModel)
    assert list(layered.activations.values()) == ["softmax"]
    assert list(graph.activations.values()) == [None]
    assert equalised(layered, {"a": X}).layered is not layered.layered
    assert graph.layered is None
    with pytest.raises(TargetError, match="equalised"):
        equalised(graph, {graph.inputs[0]: X})


def test_tuned_model_keeps_the_names_it_was_given(loaded: LoadedModel) -> None:
    before = loaded.predict({"picture": X})["kind"]
    tuned = fine_tune(loaded, {"picture": X}, epochs=2, learning_rate=0.2).loaded
    assert (tuned.inputs, tuned.outputs) == (("picture",), ("kind",))
    after = tuned.predict({"picture": X})
    assert list(after) == ["kind"]
    # The original stays as it is.
    np.testing.assert_array_equal(loaded.predict({"picture": X})["kind"], before)


def test_saved_model_of_one_batch_size_is_refused(tmp_path: Path) -> None:
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": x * 2.0})
    for batch, name in ((4, "four"), (None, "any")):
        spec = tf.TensorSpec((batch, 6), tf.float32, name="x")
        tf.saved_model.save(
            module, str(tmp_path / name), signatures=module.call.get_concrete_function(spec)
        )
    with pytest.raises(TargetError, match=r"batches of 4 only") as caught:
        load_model(tmp_path / "four")
    assert "x [4, 6]" in str(caught.value)
    # The twin.
    assert load_model(tmp_path / "any").signature(1)[0].shape == (1, 6)
