"""Nothing carries a name it does not deserve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeward.convert.artifact.lint import describe
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import EdgewardError, InvalidModelError, TargetError


@pytest.fixture(scope="module")
def files(bundle: Path) -> dict[str, bytes]:
    opened = Bundle.open(bundle)
    return {a.id: opened.artifact_bytes(a) for a in opened.manifest.artifacts}


def test_real_artifacts_are_what_their_names_say(files: dict[str, bytes]) -> None:
    for artifact_id, data in files.items():
        twin = files[artifact_id.partition("-")[0] + "-fp32"]
        description = describe(artifact_id, data, None if data == twin else len(twin))
        assert description.ops
    tflite = describe("tflite-int8", files["tflite-int8"], None)
    assert [t.dtype for t in (*tflite.inputs, *tflite.outputs)] == ["int8", "int8"]
    assert [t.name for t in (*tflite.inputs, *tflite.outputs)] == ["image", "digit"]
    assert all(t.scale for t in (*tflite.inputs, *tflite.outputs))
    assert tflite.min_runtime["tflite"]


@pytest.mark.parametrize(
    ("name", "really", "word"),
    [
        ("tflite-int8", "tflite-fp32", "float island"),
        ("tflite-fp32", "tflite-int8", "quantised"),
        ("onnx-int8", "onnx-fp32", "float32"),
        ("onnx-fp32", "onnx-int8", "QuantizeLinear"),
    ],
)
def test_wrong_name_is_refused(files: dict[str, bytes], name: str, really: str, word: str) -> None:
    with pytest.raises(TargetError, match=word):
        describe(name, files[really], None)


ALL = (
    *("tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-int8", "tflite-int8-floatio"),
    *("tflite-int16x8", "onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-dynamic"),
)


@pytest.mark.parametrize("name", ALL)
def test_each_variant_deserves_its_own_name_and_no_other(
    every_variant: dict[str, bytes], name: str
) -> None:
    format_ = name.partition("-")[0]
    assert describe(name, every_variant[name], None).ops
    for other in (one for one in ALL if one.startswith(format_) and one != name):
        with pytest.raises(TargetError, match="not what its name says"):
            describe(name, every_variant[other], None)


def test_int8_that_is_not_smaller_is_refused(files: dict[str, bytes]) -> None:
    data = files["tflite-int8"]
    describe("tflite-int8", data, len(data) + 1)
    with pytest.raises(TargetError, match="not smaller"):
        describe("tflite-int8", data, len(data))
    # Of a net that small the weights are not what counts: told, not refused.
    assert "float32 is enough" in describe("tflite-int8", data, 1000).remark
    assert describe("tflite-int8", data, len(data) + 1).remark == ""


def test_weights_of_an_lstm_left_in_float_are_seen_behind_other_ops() -> None:
    """onnxruntime's static quantiser leaves the weights of an LSTM in float32."""
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.random((32, 4)).astype(np.float32),
        "r": generator.random((1, 32, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["w", "axes"], ["w1"]),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("LSTM", ["d", "w1", "r"], ["y"], hidden_size=8),
    ]
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 1, 1, 8])],
        [
            *(numpy_helper.from_array(value, name) for name, value in weights.items()),
            numpy_helper.from_array(np.array([0], np.int64), "axes"),
            numpy_helper.from_array(np.array(0.01, np.float32), "scale"),
            numpy_helper.from_array(np.array(0, np.uint8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(TargetError, match=r"'w' is float32.*'r' is float32"):
        describe("onnx-int8", model.SerializeToString(), None)


@pytest.mark.parametrize("artifact_id", ["tflite-int8", "onnx-int8"])
def test_garbage_is_no_model(artifact_id: str) -> None:
    with pytest.raises(InvalidModelError):
        describe(artifact_id, b"nothing like a model" * 10, None)


def test_errors_of_the_lint_are_ours(files: dict[str, bytes]) -> None:
    with pytest.raises(EdgewardError):
        describe("tflite-int8", files["onnx-int8"], None)
