"""Conversion of small models in this process: names, batches, resizing, and what is impossible."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgeward.convert.artifact.lint import describe
from edgeward.convert.artifact.tflite import read_graph
from edgeward.convert.export import onnx as to_onnx
from edgeward.convert.export import tflite as to_tflite
from edgeward.convert.export.tflite_graph import freeze
from edgeward.convert.model.load import load_model
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.variants import FLOAT32, INT8
from edgeward.runtime.artifact import ARTIFACT_VARIANTS, Artifact
from edgeward.runtime.backends import available_backends, open_backend
from edgeward.runtime.errors import InvalidModelError, TargetError
from edgeward.runtime.files import sha256_bytes

pytestmark = pytest.mark.filterwarnings("ignore")


def artifact(artifact_id: str, data: bytes) -> Artifact:
    description = describe(artifact_id, data, None)
    return Artifact(
        artifact_id, "a.bin", len(data), sha256_bytes(data), ARTIFACT_VARIANTS[artifact_id],
        description.inputs, description.outputs, description.ops, description.min_runtime,
        "resizable", False, 0, (),
    )  # fmt: skip


@pytest.fixture(scope="module")
def two_outputs(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Two inputs, two outputs named against the alphabet, a Flatten on the way."""
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 2), name="image")
    extra = keras.Input((4,), name="extra")
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(image)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Concatenate()([x, extra])
    zulu = keras.layers.Dense(3, activation="softmax", name="zulu")(x)
    alpha = keras.layers.Dense(2, name="alpha")(x)
    model = keras.Model([image, extra], [zulu, alpha])
    path = tmp_path_factory.mktemp("model") / "m.keras"
    model.save(path)
    return load_model(path, ["image", "extra"], ["zulu", "alpha"])


def inputs(count: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "image": generator.random((count, 8, 8, 2), np.float32),
        "extra": generator.random((count, 4), np.float32),
    }


@pytest.mark.parametrize("backend", ["litert", "tflite", "onnx"])
def test_float_artifact_equals_the_model_on_every_runtime_in_any_batch(
    two_outputs: LoadedModel, backend: str
) -> None:
    format_ = "onnx" if backend == "onnx" else "tflite"
    if backend not in available_backends(format_):
        pytest.skip(f"{backend} is not installed")
    if format_ == "onnx":
        data = to_onnx.to_onnx(to_onnx.float_graph(two_outputs), FLOAT32, {})
    else:
        data = to_tflite.to_tflite(two_outputs, freeze(two_outputs), FLOAT32, {})
    loaded = open_backend(artifact(f"{format_}-fp32", data), data, backend)
    for count in (1, 5):
        expected = two_outputs.predict(inputs(count))
        found = loaded.run(inputs(count))
        for name in ("zulu", "alpha"):
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    assert not np.allclose(expected["zulu"][:, :2], expected["alpha"])


def test_int8_artifact_is_close_to_the_model(two_outputs: LoadedModel) -> None:
    samples = inputs(100)
    data = to_tflite.to_tflite(two_outputs, freeze(two_outputs), INT8, samples)
    description = artifact("tflite-int8", data)
    loaded = open_backend(description, data)
    scales = {t.name: (t.scale, t.zero_point) for t in description.inputs}
    feed = {
        name: np.clip(np.rint(array / scales[name][0]) + scales[name][1], -128, 127).astype(np.int8)
        for name, array in inputs(50).items()
    }
    found = loaded.run(feed)
    expected = two_outputs.predict(inputs(50))
    for tensor in description.outputs:
        real = (found[tensor.name].astype(np.float32) - tensor.zero_point) * tensor.scale
        assert np.abs(real - expected[tensor.name]).mean() < 2 * tensor.scale


def test_flatten_does_not_fix_the_batch(two_outputs: LoadedModel) -> None:
    data = to_tflite.to_tflite(two_outputs, freeze(two_outputs), FLOAT32, {})
    names = {op.name for op in read_graph(data).ops}
    assert "RESHAPE" in names
    assert not names & {"SHAPE", "PACK"}


def test_model_that_needs_a_flex_op_is_refused_with_the_op(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("edgeward-tests")
    class Erfinv(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return tf.math.erfinv(x)

    model = keras.Sequential([keras.Input((4,), name="x"), Erfinv(), keras.layers.Dense(1)])
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras", ["x"], ["y"])
    with pytest.raises(TargetError, match="Erfinv"):
        to_tflite.to_tflite(loaded, freeze(loaded), FLOAT32, {})


def test_other_inputs_than_the_run_names_are_refused(tmp_path: Path) -> None:
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    keras.Model([a, b], keras.layers.Add()([a, b])).save(tmp_path / "m.keras")
    with pytest.raises(InvalidModelError, match="inputs"):
        load_model(tmp_path / "m.keras", ["a", "c"], ["y"])


def test_unknown_dimension_is_refused(tmp_path: Path) -> None:
    x = keras.Input((None, None, 1), name="x")
    keras.Model(x, keras.layers.GlobalAveragePooling2D()(x)).save(tmp_path / "m.keras")
    with pytest.raises(TargetError, match="not known"):
        load_model(tmp_path / "m.keras", ["x"], ["y"])
