"""Recurrent nets: builtin ops only, int8 that is int8, no memory from sample to sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from edgeward.convert.artifact.lint import describe
from edgeward.convert.export import onnx as to_onnx
from edgeward.convert.export import tflite as to_tflite
from edgeward.convert.export import tflite_graph
from edgeward.convert.export.exporter import Exporter
from edgeward.convert.export.fused_lstm import can_fuse
from edgeward.convert.export.tflite_graph import freeze
from edgeward.convert.measure.measure import describe_artifact
from edgeward.convert.model.load import load_model
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.settings import OLDEST
from edgeward.convert.variants import DYNAMIC, FLOAT32, INT8
from edgeward.runtime.arrays import Array
from edgeward.runtime.backends import available_backends, open_backend
from edgeward.runtime.errors import TargetError

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 12
RUNTIMES = available_backends("tflite")


def load(layers: list[keras.layers.Layer], folder: Path) -> LoadedModel:
    keras.utils.set_random_seed(5)
    x = series = keras.Input((STEPS, 3), name="series")
    for layer in layers:
        x = layer(x)
    model = keras.Model(series, keras.layers.Dense(2, activation="softmax", name="sign")(x))
    model.save(folder / "m.keras")
    return load_model(folder / "m.keras", ["series"], ["sign"])


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


def run_onnx(data: bytes, inputs: Array) -> Array:
    """One sample after the other."""
    description = describe("onnx-dynamic", data, None)
    artifact = describe_artifact("onnx-dynamic", "m.onnx", data, description, stateful=False)
    loaded = open_backend(artifact, data)
    return np.concatenate([loaded.run({"series": one[None]})["sign"] for one in inputs])


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load([keras.layers.LSTM(8)], tmp_path_factory.mktemp("lstm"))


@pytest.fixture(scope="module")
def fused(lstm: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("fused") / "saved"
    return to_tflite.to_tflite_fused(lstm, folder, INT8, {"series": samples(100)})


@pytest.mark.parametrize("backend", RUNTIMES)
def test_fused_lstm_is_int8_and_close_to_the_model(
    lstm: LoadedModel, fused: bytes, backend: str
) -> None:
    names = [op.name for op in describe("tflite-int8", fused, None).ops]
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in names
    assert "WHILE" not in names
    inputs = samples(60)
    expected = lstm.predict({"series": inputs})["sign"]
    found = run_int8(fused, inputs, backend, stateful=True)
    assert np.abs(found - expected).mean() < 0.02
    assert np.abs(found[::-1] - expected).mean() > 0.02


def influenced(answer: Callable[[Array], Array], inputs: Array) -> bool:
    """Whether the answer to a sample depends on those before it."""
    order = np.random.default_rng(0).permutation(len(inputs))
    return not np.array_equal(answer(inputs[order]), answer(inputs)[order])


@pytest.mark.parametrize("backend", RUNTIMES)
def test_samples_do_not_influence_each_other(fused: bytes, backend: str) -> None:
    assert not influenced(lambda x: run_int8(fused, x, backend, stateful=True), samples(60))
    # The twin: without the reset the answers depend on the order.
    assert influenced(lambda x: run_int8(fused, x, backend, stateful=False), samples(60))


@pytest.mark.parametrize(
    "layer",
    [lambda: keras.layers.GRU(4), lambda: keras.layers.Bidirectional(keras.layers.LSTM(4))],
    ids=["gru", "bidirectional"],
)
def test_samples_do_not_influence_each_other_where_nothing_is_reset(
    layer: Callable[[], keras.layers.Layer], fused: bytes, tmp_path: Path
) -> None:
    loaded = load([layer()], tmp_path)
    maker = Exporter(loaded, {"series": samples(50)}, OLDEST, tmp_path)
    data, stateful = maker.make("tflite-int8")
    assert not stateful
    for backend in RUNTIMES:
        assert not influenced(
            lambda x, b=backend: run_int8(data, x, b, stateful=False), samples(40)
        )
        # The twin: the same check finds the state of a file that must be reset.
        assert influenced(lambda x, b=backend: run_int8(fused, x, b, stateful=False), samples(40))
    dynamic, stateful = maker.make("onnx-dynamic")
    assert not stateful
    assert not influenced(lambda x: run_onnx(dynamic, x), samples(40))


def test_samples_do_not_influence_each_other_in_onnx(lstm: LoadedModel) -> None:
    data = to_onnx.to_onnx(to_onnx.float_graph(lstm), DYNAMIC, {})
    assert not influenced(lambda x: run_onnx(data, x), samples(40))
    # The twin: an answer that carries something over is found.
    kept: list[Array] = [np.zeros((1, STEPS, 3), np.float32)]

    def carrying(inputs: Array) -> Array:
        found = []
        for one in inputs:
            found.append(run_onnx(data, (one + kept[-1][0])[None]))
            kept.append(one[None])
        return np.concatenate(found)

    assert influenced(carrying, samples(40))


def padded(count: int, value: float) -> Array:
    """Series of which the last steps are padding."""
    inputs = samples(count)
    lengths = np.random.default_rng(1).integers(3, STEPS + 1, (count, 1))
    inputs[np.arange(STEPS)[None] >= lengths] = value
    return inputs


@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("cell", [keras.layers.LSTM, keras.layers.GRU])
def test_masked_steps_are_int8_and_left_out(
    cell: type[keras.layers.Layer], value: float, tmp_path: Path
) -> None:
    loaded = load([keras.layers.Masking(value), cell(6)], tmp_path)
    inputs = padded(60, value)
    data, stateful = Exporter(loaded, {"series": inputs}, OLDEST, tmp_path).make("tflite-int8")
    assert not stateful
    expected = loaded.predict({"series": inputs})["sign"]
    unmasked = load([cell(6)], tmp_path).predict({"series": inputs})["sign"]
    for backend in RUNTIMES:
        found = run_int8(data, inputs, backend, stateful=False)
        assert np.abs(found - expected).mean() < 0.01
        # The twin: what the same net gives that reads the padding is further away.
        assert np.abs(found - unmasked).mean() > 2 * np.abs(found - expected).mean()


def test_float_mask_that_stays_an_inequality_is_a_float_island(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load([keras.layers.Masking(), keras.layers.LSTM(4)], tmp_path)
    monkeypatch.setattr(tflite_graph, "without_inequalities", lambda frozen: frozen)
    maker = Exporter(loaded, {"series": padded(20, 0.0)}, OLDEST, tmp_path)
    with pytest.raises(TargetError, match="float island"):
        describe("tflite-int8", maker.make("tflite-int8")[0], None)


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
    assert loaded.recurrent
    assert not can_fuse(loaded)
    stateless = loaded.unrolled()
    inputs = {"series": samples(20)}
    np.testing.assert_allclose(
        stateless.predict(inputs)["sign"], loaded.predict(inputs)["sign"], atol=1e-5
    )
    data = to_tflite.to_tflite(stateless, freeze(stateless), FLOAT32, {})
    assert "WHILE" not in [op.name for op in describe("tflite-fp32", data, None).ops]


def test_mask_and_feed_forward_nets_are_not_fused(lstm: LoadedModel, tmp_path: Path) -> None:
    assert can_fuse(lstm)
    masked = load([keras.layers.Masking(), keras.layers.LSTM(4)], tmp_path)
    assert not can_fuse(masked)
    flat = load([keras.layers.Flatten()], tmp_path)
    assert flat.recurrent == []
    assert not can_fuse(flat)


def test_onnx_has_one_op_for_each_lstm_and_int8_weights(lstm: LoadedModel) -> None:
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
