"""ONNX graphs lose nodes and nothing else."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgeward.convert.artifact.onnx import read_onnx
from edgeward.convert.export.onnx import float_graph
from edgeward.convert.export.onnx_graph import lean
from edgeward.convert.model.load import load_model
from edgeward.convert.model.loaded import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore")


def save(model: keras.Model, folder: Path) -> LoadedModel:
    model.save(folder / "m.keras")
    return load_model(folder / "m.keras", ["x"], ["y"])


def answers(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0])


def ops(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def test_cnn_has_no_more_nodes_than_one_made_by_hand(tmp_path: Path) -> None:
    x = keras.Input((8, 8, 1), name="x")
    y = keras.layers.MaxPooling2D(2)(keras.layers.Conv2D(3, 3, activation="relu")(x))
    y = keras.layers.Flatten()(y)
    y = keras.layers.Dense(4, "softmax", bias_initializer="random_normal", name="y")(y)
    loaded = save(keras.Model(x, y), tmp_path)
    proto = float_graph(loaded)
    # To channels first, convolution, back, flat, dense: as one would write it.
    assert ops(proto) == [
        *("Reshape", "Conv", "Relu", "MaxPool", "Transpose", "Reshape", "MatMul", "Add", "Softmax"),
    ]
    data = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    np.testing.assert_allclose(
        answers(proto, data), loaded.predict({"x": data})["y"], rtol=1e-5, atol=1e-6
    )


def test_lstm_is_one_op_that_starts_from_zeros_without_asking_for_them(tmp_path: Path) -> None:
    x = keras.Input((6, 2), name="x")
    y = keras.layers.Dense(1, name="y")(keras.layers.LSTM(4)(x))
    loaded = save(keras.Model(x, y), tmp_path)
    proto = float_graph(loaded)
    assert ops(proto).count("LSTM") == 1
    assert not {"Shape", "Expand", "Concat", "Loop"} & set(ops(proto))
    data = np.random.default_rng(0).random((5, 6, 2), np.float32)
    wanted = loaded.predict({"x": data})["y"]
    np.testing.assert_allclose(answers(proto, data), wanted, rtol=1e-4, atol=1e-5)


def test_sizes_that_a_loop_hides_are_those_of_the_model(tmp_path: Path) -> None:
    """tf2onnx says [None, None, 2] of a GRU's sequence, which is no manifest's shape."""
    x = keras.Input((6, 2), name="x")
    y = keras.layers.Dense(3, name="y")(keras.layers.GRU(4, return_sequences=True)(x))
    loaded = save(keras.Model(x, y), tmp_path)
    (edge,) = read_onnx(float_graph(loaded).SerializeToString()).outputs
    assert edge.shape == (None, 6, 3)
    data = np.random.default_rng(0).random((5, 6, 2), np.float32)
    wanted = loaded.predict({"x": data})["y"]
    np.testing.assert_allclose(answers(float_graph(loaded), data), wanted, rtol=1e-4, atol=1e-5)


def test_state_that_is_not_zero_stays() -> None:
    weights = {
        "w": np.ones((1, 8, 3), np.float32),
        "r": np.ones((1, 8, 2), np.float32) / 2,
        "h": np.full((1, 1, 2), 0.5, np.float32),
    }
    node = onnx.helper.make_node(
        "LSTM", ["x", "w", "r", "", "", "h", "zero"], ["", "y", ""], hidden_size=2
    )
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [info("x", onnx.TensorProto.FLOAT, [4, 1, 3])],
        [info("y", onnx.TensorProto.FLOAT, [1, 1, 2])],
        [
            *(numpy_helper.from_array(value, name) for name, value in weights.items()),
            numpy_helper.from_array(np.zeros((1, 1, 2), np.float32), "zero"),
        ],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    before = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    after = lean(before)
    (kept,) = after.graph.node
    assert list(kept.input)[5] == "h"
    assert len(kept.input) == 6 or not kept.input[6]
    data = np.random.default_rng(0).random((4, 1, 3), np.float32)
    np.testing.assert_array_equal(answers(after, data), answers(before, data))
