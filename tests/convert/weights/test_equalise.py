"""Equalised models answer as before, and their channels are of like size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
from answers import answers, sqnr

from edgeward.convert.artifact.lint import describe
from edgeward.convert.export.exporter import Exporter
from edgeward.convert.model.load import load_model
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.settings import OLDEST, Settings
from edgeward.convert.weights.equalise import equalised
from edgeward.runtime.backends import available_backends
from edgeward.runtime.errors import TargetError

pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = keras.layers
SPREAD = np.geomspace(1e-3, 1, 16).astype(np.float32)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).random((count, 12, 12, 3)).astype(np.float32)


def conv_relu() -> list[Any]:
    return [LAYERS.Conv2D(16, 3, activation="relu", name="first"), LAYERS.Conv2D(8, 1, name="b")]


def normalised() -> list[Any]:
    norm = LAYERS.BatchNormalization(name="norm", beta_initializer="random_normal")
    first = LAYERS.Conv2D(16, 3, use_bias=False, name="first")
    return [first, norm, LAYERS.ReLU(), LAYERS.DepthwiseConv2D(3, name="b")]


def flattened() -> list[Any]:
    first = LAYERS.DepthwiseConv2D(3, activation="relu", name="first")
    return [
        *(LAYERS.Conv2D(16, 1, name="zeroth"), first, LAYERS.MaxPooling2D()),
        *(LAYERS.Flatten(), LAYERS.Dense(8, name="b")),
    ]


def dense() -> list[Any]:
    first = LAYERS.Dense(16, activation="relu", name="first")
    return [LAYERS.GlobalAveragePooling2D(), first, LAYERS.Dropout(0.5), LAYERS.Dense(8, name="b")]


def load(folder: Path, layers: list[Any]) -> LoadedModel:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((12, 12, 3), name="x"), *layers])
    first, second = model.get_layer("first"), model.get_layer("b")
    # Channels of uneven size that the second layer makes good.
    if any(layer.name == "norm" for layer in model.layers):
        norm = model.get_layer("norm")
        norm.gamma.assign(SPREAD)
        norm.beta.assign(norm.beta.numpy() * SPREAD)
        second.kernel.assign(second.kernel.numpy() / SPREAD[:, None])
    else:
        depthwise = isinstance(first, LAYERS.DepthwiseConv2D)
        first.kernel.assign(first.kernel.numpy() * (SPREAD[:, None] if depthwise else SPREAD))
        rows = second.kernel.shape[-2] // 16
        second.kernel.assign(second.kernel.numpy() / np.tile(SPREAD, rows)[:, None])
    model.save(folder / "m.keras")
    return load_model(folder / "m.keras", ["x"], [model.layers[-1].name])


def run(artifact_id: str, data: bytes, name: str) -> np.ndarray:
    if artifact_id.startswith("onnx"):
        found = onnxruntime.InferenceSession(data).run(None, {"x": images(40)})[0]
        return np.asarray(found)
    return answers(artifact_id, data, images(40), name)


def spread_of(loaded: LoadedModel) -> float:
    """Ratio of the largest to the smallest channel between the two layers."""
    layer = next(x for x in loaded.model.layers[::-1] if x.name in ("first", "norm"))
    probe = keras.Model(loaded.model.inputs, layer.output)
    values = np.maximum(probe.predict(images(40), verbose=0), 0)
    peaks = values.reshape(-1, 16).max(0)
    return float(peaks.max() / peaks[peaks > 0].min())


@pytest.mark.skipif(not available_backends("tflite"), reason="no TFLite runtime")
@pytest.mark.parametrize("layers", [conv_relu, normalised, flattened, dense])
def test_equalised_model_answers_as_before_and_survives_int8(
    tmp_path: Path, layers: Callable[[], list[Any]]
) -> None:
    loaded = load(tmp_path, layers())
    samples = {"x": images(40)}
    (output,) = loaded.outputs
    before = loaded.predict(samples)[output]
    equal = equalised(loaded, samples)
    assert sqnr(equal.predict(samples)[output], before) > 90
    # The model that was given stays as it was.
    np.testing.assert_array_equal(loaded.predict(samples)[output], before)
    assert spread_of(equal) < spread_of(loaded) / 5
    maker = Exporter(loaded, samples, OLDEST, tmp_path)
    for artifact_id in ("tflite-int8-floatio", "onnx-int8"):
        plain = sqnr(run(artifact_id, maker.make(artifact_id)[0], output), before)
        data, _ = maker.make(artifact_id, Settings(equalise=True))
        assert describe(artifact_id, data, None).ops
        assert sqnr(run(artifact_id, data, output), before) > plain + 3, artifact_id


def branches() -> keras.Model:
    x = keras.Input((12, 12, 3), name="x")
    first = LAYERS.Conv2D(16, 3, activation="relu", name="first")(x)
    both = LAYERS.Add()([LAYERS.Conv2D(16, 1, name="b")(first), first])
    return keras.Model(x, LAYERS.Flatten(name="y")(both))


def capped() -> keras.Model:
    x = keras.Input((12, 12, 3), name="x")
    first = LAYERS.ReLU(6.0)(LAYERS.Conv2D(16, 3, name="first")(x))
    return keras.Model(x, LAYERS.Conv2D(8, 1, name="y")(first))


def shared() -> keras.Model:
    x = keras.Input((12, 12, 3), name="x")
    layer = LAYERS.Conv2D(3, 1, activation="relu", name="first")
    return keras.Model(x, LAYERS.Flatten(name="y")(layer(layer(x))))


def seen() -> keras.Model:
    """What lies between the layers is an output too."""
    x = keras.Input((12, 12, 3), name="x")
    first = LAYERS.Dense(16, activation="relu", name="first")(x)
    return keras.Model(x, [first, LAYERS.Dense(8, name="y")(first)])


def curved() -> keras.Model:
    x = keras.Input((12, 12, 3), name="x")
    first = LAYERS.Conv2D(16, 3, activation="tanh", name="first")(x)
    return keras.Model(x, LAYERS.Conv2D(8, 1, name="y")(first))


@pytest.mark.parametrize("build", [branches, capped, shared, seen, curved])
def test_channels_that_something_else_depends_on_are_refused(
    tmp_path: Path, build: Callable[[], keras.Model]
) -> None:
    model = build()
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    maker = Exporter(loaded, {"x": images(8)}, OLDEST, tmp_path)
    with pytest.raises(TargetError, match="no such pair"):
        maker.make("tflite-int8", Settings(equalise=True))


def test_channel_that_never_wakes_is_left_without_harm(tmp_path: Path) -> None:
    loaded = load(tmp_path, conv_relu())
    first = loaded.model.get_layer("first")
    bias = first.bias.numpy()
    bias[3] = -1000.0
    first.bias.assign(bias)
    samples = {"x": images(20)}
    (output,) = loaded.outputs
    found = equalised(loaded, samples).predict(samples)[output]
    assert np.isfinite(found).all()
    assert sqnr(found, loaded.predict(samples)[output]) > 90
