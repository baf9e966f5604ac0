"""Recurrent nets: builtin ops only, int8 that is int8, no memory from sample to sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from convert import to_onnx, to_tflite, trace
from convert.fused_lstm import can_fuse
from convert.lint import describe
from convert.measure import describe_artifact
from convert.variants import DYNAMIC, FLOAT32, INT8
from runtime.arrays import Array
from runtime.backends import available_backends, open_backend

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 12
RUNTIMES = available_backends("tflite")


def load(layers: list[keras.layers.Layer], folder: Path) -> trace.LoadedModel:
    keras.utils.set_random_seed(5)
    x = series = keras.Input((STEPS, 3), name="series")
    for layer in layers:
        x = layer(x)
    model = keras.Model(series, keras.layers.Dense(2, activation="softmax", name="sign")(x))
    model.save(folder / "m.keras")
    return trace.load_model(folder / "m.keras", ["series"], ["sign"])


def samples(count: int) -> Array:
    return np.random.default_rng(count).normal(0, 1, (count, STEPS, 3)).astype(np.float32)


def run_int8(data: bytes, inputs: Array, backend: str, *, stateful: bool) -> Array:
    artifact = describe_artifact(
        "tflite-int8", "m.tflite", data, describe("tflite-int8", data, None), stateful=stateful
    )
    (into,), (out,) = artifact.inputs, artifact.outputs
    loaded = open_backend(artifact, data, backend)
    raw = np.clip(np.rint(inputs / into.scale) + into.zero_point, -128, 127).astype(np.int8)
    found = np.concatenate([loaded.run({"series": one[None]})["sign"] for one in raw])
    return (found.astype(np.float32) - out.zero_point) * np.float32(out.scale)


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> trace.LoadedModel:
    return load([keras.layers.LSTM(8)], tmp_path_factory.mktemp("lstm"))


@pytest.fixture(scope="module")
def fused(lstm: trace.LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("fused") / "saved"
    return to_tflite.to_tflite_fused(lstm, folder, INT8, {"series": samples(100)})


@pytest.mark.parametrize("backend", RUNTIMES)
def test_fused_lstm_is_int8_and_close_to_the_model(
    lstm: trace.LoadedModel, fused: bytes, backend: str
) -> None:
    names = [op.name for op in describe("tflite-int8", fused, None).ops]
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in names
    assert "WHILE" not in names
    inputs = samples(60)
    expected = lstm.predict({"series": inputs})["sign"]
    found = run_int8(fused, inputs, backend, stateful=True)
    assert np.abs(found - expected).mean() < 0.02
    assert np.abs(found[::-1] - expected).mean() > 0.02


@pytest.mark.parametrize("backend", RUNTIMES)
def test_samples_do_not_influence_each_other(fused: bytes, backend: str) -> None:
    inputs = samples(60)
    order = np.random.default_rng(0).permutation(len(inputs))
    straight = run_int8(fused, inputs, backend, stateful=True)
    shuffled = run_int8(fused, inputs[order], backend, stateful=True)
    np.testing.assert_array_equal(shuffled, straight[order])
    # The twin: without the reset the answers depend on the order.
    kept = run_int8(fused, inputs, backend, stateful=False)
    kept_shuffled = run_int8(fused, inputs[order], backend, stateful=False)
    assert not np.array_equal(kept_shuffled, kept[order])


def test_stateful_artifact_has_a_static_batch(fused: bytes) -> None:
    description = describe("tflite-int8", fused, None)
    artifact = describe_artifact("tflite-int8", "m.tflite", fused, description, stateful=True)
    assert (artifact.batch, artifact.stateful) == ("static", True)
    assert replace(artifact, batch="resizable").batch == "resizable"


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.GRU(6),
        lambda: keras.Sequential(
            [keras.layers.LSTM(4, return_sequences=True), keras.layers.LSTM(4)]
        ),
        lambda: keras.layers.Bidirectional(keras.layers.LSTM(5)),
        lambda: keras.layers.LSTM(6, go_backwards=True),
        lambda: keras.layers.LSTM(6, activation="relu"),
    ],
    ids=["gru", "two", "bidirectional", "backwards", "relu"],
)
def test_what_cannot_be_fused_is_unrolled_with_the_same_answers(
    layer: object, tmp_path: Path
) -> None:
    loaded = load([layer()], tmp_path)
    assert trace.recurrent_layers(loaded)
    assert not can_fuse(loaded)
    unrolled = trace.unrolled(loaded)
    inputs = {"series": samples(20)}
    np.testing.assert_allclose(
        unrolled.predict(inputs)["sign"], loaded.predict(inputs)["sign"], atol=1e-5
    )
    data = to_tflite.to_tflite(unrolled, trace.freeze(unrolled), FLOAT32, {})
    assert "WHILE" not in [op.name for op in describe("tflite-fp32", data, None).ops]


def test_mask_and_feed_forward_nets_are_not_fused(lstm: trace.LoadedModel, tmp_path: Path) -> None:
    assert can_fuse(lstm)
    masked = load([keras.layers.Masking(), keras.layers.LSTM(4)], tmp_path)
    assert not can_fuse(masked)
    flat = load([keras.layers.Flatten()], tmp_path)
    assert trace.recurrent_layers(flat) == []
    assert not can_fuse(flat)


def test_onnx_has_one_op_for_each_lstm_and_int8_weights(lstm: trace.LoadedModel) -> None:
    proto = to_onnx.float_graph(lstm)
    plain = to_onnx.to_onnx(proto, FLOAT32, {})
    ops = [node.op_type for node in onnx.load_model_from_string(plain).graph.node]
    assert ops.count("LSTM") == 1
    assert "Loop" not in ops
    dynamic = to_onnx.to_onnx(proto, DYNAMIC, {})
    ops = [node.op_type for node in onnx.load_model_from_string(dynamic).graph.node]
    assert ops.count("DynamicQuantizeLSTM") == 1
    description = describe("onnx-dynamic", dynamic, None)
    artifact = describe_artifact("onnx-dynamic", "m.onnx", dynamic, description, stateful=False)
    inputs = samples(30)
    found = open_backend(artifact, dynamic).run({"series": inputs})["sign"]
    assert np.abs(found - lstm.predict({"series": inputs})["sign"]).max() < 0.05
