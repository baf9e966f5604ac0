"""A model for each kind of layer: every variant that exists for it still computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgeward.convert.artifact.lint import describe
from edgeward.convert.drift.agreement import measure_agreement
from edgeward.convert.export.exporter import Exporter
from edgeward.convert.measure.measure import describe_artifact
from edgeward.convert.model.load import load_model
from edgeward.convert.settings import OLDEST
from edgeward.runtime.backends import available_backends, open_backend
from edgeward.runtime.errors import TargetError
from edgeward.runtime.predictor import Runner
from edgeward.runtime.specs import InputSpec, OutputSpec

pytestmark = pytest.mark.filterwarnings("ignore")

IMAGE, SERIES = (16, 16, 4), (10, 6)


def image(*between: Callable[[Any], Any]) -> keras.Model:
    return chain(IMAGE, *between)


def series(*between: Callable[[Any], Any]) -> keras.Model:
    return chain(SERIES, *between)


def chain(shape: tuple[int, ...], *between: Callable[[Any], Any]) -> keras.Model:
    start = keras.Input(shape, name="x")
    x = start
    for layer in between:
        x = layer(x)
    # The converter leaves constants below 1,024 elements in float: these are above.
    x = layers.Dense(260, activation="relu")(layers.Flatten()(x))
    return keras.Model(start, layers.Dense(5, name="y")(x))


def residual(x: Any) -> Any:
    return layers.Add()([x, layers.Conv2D(4, 3, padding="same")(layers.ReLU()(x))])


def attention(x: Any) -> Any:
    return layers.MultiHeadAttention(2, 3)(x, x)


def squeeze_and_excite(x: Any) -> Any:
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Multiply()([x, layers.Conv2D(4, 1, activation="hard_sigmoid")(gate)])


MODELS: dict[str, Callable[[], keras.Model]] = {
    "depthwise": lambda: image(layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "separable": lambda: image(layers.SeparableConv2D(6, 3)),
    "transposed": lambda: image(layers.Conv2DTranspose(3, 3, strides=2)),
    "dilated": lambda: image(layers.Conv2D(6, 3, dilation_rate=2)),
    "residual": lambda: image(residual),
    "batch-norm": lambda: image(layers.Conv2D(6, 3), layers.BatchNormalization(), layers.ReLU()),
    "squeeze-excite": lambda: image(squeeze_and_excite),
    "upsampling": lambda: image(layers.UpSampling2D(2, interpolation="bilinear")),
    "resizing": lambda: image(layers.Resizing(8, 8), layers.Conv2D(3, 3)),
    "prelu": lambda: image(layers.Conv2D(6, 3), layers.PReLU(shared_axes=[1, 2])),
    "gelu": lambda: image(layers.Conv2D(6, 3, activation="gelu")),
    "silu": lambda: image(layers.Conv2D(6, 3, activation="silu")),
    "hard-swish": lambda: image(layers.Conv2D(6, 3, activation="hard_silu")),
    "conv1d": lambda: series(layers.Conv1D(6, 3, padding="causal", activation="relu")),
    "layer-norm": lambda: series(layers.Dense(8), layers.LayerNormalization()),
    "attention": lambda: series(attention),
    "lstm": lambda: series(layers.LSTM(8)),
    "two-lstms": lambda: series(layers.LSTM(6, return_sequences=True), layers.LSTM(5)),
    "gru": lambda: series(layers.GRU(8)),
    "bidirectional": lambda: series(layers.Bidirectional(layers.LSTM(5))),
    "simple-rnn": lambda: series(layers.SimpleRNN(8)),
}
RECURRENT = ("lstm", "two-lstms", "gru", "bidirectional", "simple-rnn")
# What TensorFlow 2.21 and the runtimes do not have, artifact and kind -> word of the reason.
IMPOSSIBLE = {
    **{("onnx-int8", kind): "no static int8 form" for kind in RECURRENT},
    ("onnx-dynamic", "transposed"): "is float32",
    ("tflite-int16x8", "prelu"): "not yet supported for op: 'PRELU'",
    ("tflite-int16x8", "hard-swish"): "not yet supported for op: 'HARD_SWISH'",
    ("tflite-int16x8", "layer-norm"): "SquaredDifference|Rsqrt",
    ("tflite-int16x8", "gelu"): "GELU",
}
# SQNR in dB: what 8 bits leave of a random net's logits, and what float rounding leaves.
FLOOR = {"fp32": 80.0, "fp16": 45.0, "dynamic": 20.0, "int8": 15.0, "int16x8": 25.0}
FAST = ("depthwise", "residual", "gelu", "lstm", "attention")


def sqnr(reference: Any, values: Any) -> float:
    return measure_agreement("y", OutputSpec("regression"), reference, values).sqnr


def values_of(artifact_id: str, data: bytes, stateful: bool, backend: str, x: Any) -> Any:
    description = describe(artifact_id, data, None)
    artifact = describe_artifact(artifact_id, "a.bin", data, description, stateful=stateful)
    loaded = open_backend(artifact, data, backend)
    specs = {"x": InputSpec("tensor", "float32", x.shape[1:], ())}
    runner = Runner(artifact, loaded, specs, {"y": OutputSpec("regression")}, {})
    found = [runner.values(runner.invoke({"x": one}))["y"] for one in x]
    return np.concatenate([np.asarray(one).reshape(1, -1) for one in found])


@pytest.mark.parametrize(
    "kind",
    [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in MODELS],
)
def test_every_variant_of_the_kind_of_layer_computes_the_same(kind: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    model = MODELS[kind]()
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras", ["x"], ["y"])
    x = np.random.default_rng(0).standard_normal((60, *model.input_shape[1:])).astype(np.float32)
    reference = loaded.predict({"x": x[:20]})["y"]
    maker = Exporter(loaded, {"x": x}, OLDEST, tmp_path)
    for artifact_id in (
        *("tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-int8", "tflite-int16x8"),
        *("onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-dynamic"),
    ):
        floor = FLOOR[artifact_id.partition("-")[2]]
        seen = []

        def run_everywhere(artifact_id: str = artifact_id, seen: list[Any] = seen) -> None:
            data, stateful = maker.make(artifact_id)
            for backend in sorted(available_backends(artifact_id.partition("-")[0]), reverse=True):
                seen.append(values_of(artifact_id, data, stateful, backend, x[:20]))

        reason = IMPOSSIBLE.get((artifact_id, kind))
        if reason is not None:
            with pytest.raises(TargetError, match=reason):
                run_everywhere()
            continue
        run_everywhere()
        assert seen
        for values in seen:
            assert sqnr(reference, values) >= floor, (artifact_id, sqnr(reference, values))
            # The twin: answers in another order are no answers.
            assert sqnr(reference, np.roll(values, 1, axis=0)) < 10


def test_layer_that_no_builtin_op_computes_is_named(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("edgeward-tests")
    class Eigen(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.linalg.eigvalsh(tf.matmul(x, x, transpose_a=True))

    start = keras.Input((4, 3), name="x")
    keras.Model(start, layers.Dense(2, name="y")(Eigen(name="my_eigen")(start))).save(
        tmp_path / "m.keras"
    )
    loaded = load_model(tmp_path / "m.keras", ["x"], ["y"])
    maker = Exporter(loaded, {"x": np.zeros((4, 4, 3), np.float32)}, OLDEST, tmp_path)
    for artifact_id in ("tflite-fp32", "onnx-fp32"):
        with pytest.raises(TargetError, match=r"my_eigen|SelfAdjointEig") as caught:
            maker.make(artifact_id)
        assert "my_eigen" in str(caught.value), artifact_id
