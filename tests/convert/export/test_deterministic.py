"""The same model gives the same files, byte for byte, in whatever order Python walks its sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import python

from edgeward.convert.export.onnx import float_graph
from edgeward.convert.export.onnx_graph import canonicalise, renumber
from edgeward.convert.model.load import load_model
from edgeward.convert.model.loaded import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore")

# In the worker's place, without the seed that the worker is started with.
MAKE = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from edgeward.convert.model.load import load_model
from edgeward.convert.formats import FORMATS
from edgeward.convert.settings import OLDEST
from edgeward.convert.export.exporter import Exporter
from edgeward.convert.variants import VARIANTS, plan

digests = {}
every, _ = plan(list(VARIANTS), list(FORMATS), everything=True)
for name, ids in (
    ("cnn", every),
    ("recurrent", ("tflite-dynamic", "onnx-fp32", "onnx-fp16", "onnx-dynamic")),
):
    loaded = load_model(Path(f"{name}.keras"), ["x"], ["y"])
    maker = Exporter(loaded, {"x": np.load(f"{name}.npy")}, OLDEST, Path("."))
    for one in ids:
        digests[f"{name} {one}"] = hashlib.sha256(maker.make(one)[0]).hexdigest()
Path(sys.argv[1]).write_text(json.dumps(digests))
"""


def cnn() -> keras.Model:
    """A net with what tf2onnx makes names for: transposes, padding, equal constants."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    x = keras.Input((12, 12, 1), name="x")
    y = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False)(y)))
    y = layers.Flatten()(layers.MaxPooling2D(2)(y))
    return keras.Model(x, layers.Dense(3, "softmax", name="y")(y))


def recurrent() -> keras.Model:
    """A net with equal constants, and with a Loop: tf2onnx makes one of the GRU."""
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 2), name="x")
    y = keras.layers.GRU(4, return_sequences=True)(x)
    return keras.Model(x, keras.layers.Dense(1, name="y")(keras.layers.LSTM(3)(y)))


def loaded(model: keras.Model, folder: Path) -> LoadedModel:
    model.save(folder / "m.keras")
    return load_model(folder / "m.keras", ["x"], ["y"])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.slow
def test_every_artifact_is_the_same_whatever_the_hashes_of_python(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for model, shape in ((cnn, (20, 12, 12, 1)), (recurrent, (20, 6, 2))):
        model().save(tmp_path / f"{model.__name__}.keras")
        np.save(tmp_path / f"{model.__name__}.npy", random.random(shape, np.float32))
    made = []
    for seed in "12":
        done = python("-c", MAKE, f"{seed}.json", cwd=tmp_path, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        made.append(json.loads((tmp_path / f"{seed}.json").read_text()))
    assert made[0] == made[1]
    assert len(made[0]) == 14


@pytest.mark.parametrize("model", [cnn, recurrent])
def test_second_conversion_in_one_process_counts_from_one_again(
    model: Callable[[], keras.Model], tmp_path: Path
) -> None:
    """tf2onnx numbers what it makes from a counter that goes on."""
    opened = loaded(model(), tmp_path)
    first, second = (float_graph(opened).SerializeToString() for _ in range(2))
    assert digest(first) == digest(second)
    # The layers can still be told by name.
    graph = onnx.load_from_string(first).graph
    assert any("/y_1/MatMul" in node.name for node in graph.node)


def test_body_of_a_loop_answers_as_the_model_does(tmp_path: Path) -> None:
    opened = loaded(recurrent(), tmp_path)
    proto = float_graph(opened)
    assert "Loop" in [node.op_type for node in proto.graph.node]
    x = np.random.default_rng(0).random((5, 6, 2), np.float32)
    (found,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(found, opened.predict({"x": x})["y"], rtol=1e-4, atol=1e-5)


def diamond(order: tuple[int, ...], numbers: tuple[int, ...], constants: list[str]) -> bytes:
    """One graph, its nodes in this order and with these numbers in the names, made canonical."""
    a, b, c = (f"T__{i}" for i in numbers)
    nodes = [
        helper.make_node("Relu", ["x"], [f"{a}:0"], a),
        helper.make_node("Add", [f"{a}:0", constants[0]], [f"{b}:0"], b),
        helper.make_node("Mul", [f"{a}:0", constants[1]], [f"{c}:0"], c),
        helper.make_node("Sub", [f"{b}:0", f"{c}:0"], ["out__7"], "last__9/Sub"),
    ]
    shape = ["N" + str(numbers[0]), 3]
    info = [helper.make_tensor_value_info(f"{n}:0", TensorProto.FLOAT, shape) for n in (c, a, b)]
    values = {constants[0]: 1.0, constants[1]: 2.0}
    stored = sorted(values, reverse=bool(numbers[0] % 2))
    proto = helper.make_model(
        helper.make_graph(
            [nodes[i] for i in order],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("out__7", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(np.float32([values[name]]), name) for name in stored],
            value_info=info,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    canonicalise(proto)
    renumber(proto)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def test_order_and_numbers_of_a_graph_leave_no_trace() -> None:
    first = diamond((0, 1, 2, 3), (4, 5, 6), ["one", "two"])
    for other in (
        diamond((0, 2, 1, 3), (4, 5, 6), ["one", "two"]),
        diamond((0, 1, 2, 3), (15, 7, 1), ["one", "two"]),
        diamond((0, 2, 1, 3), (5, 4, 3), ["z/Const:0", "const_fold_opt__88"]),
    ):
        assert other == first
    # The twin: another graph is another file.
    assert diamond((0, 1, 2, 3), (4, 5, 6), ["two", "one"]) == first
    graph = onnx.load_from_string(first).graph
    assert [node.op_type for node in graph.node] == ["Relu", "Add", "Mul", "Sub"]
    # The model's own names stay, and no made-up one is the same as they are.
    assert graph.output[0].name == "out__7"
    assert graph.node[-1].name == "last__9/Sub"
    assert [one.name for one in graph.initializer] == ["constant__3", "constant__5"]
    x = np.float32([[1, -2, 3]])
    (found,) = onnxruntime.InferenceSession(first).run(None, {"x": x})
    relu = np.maximum(x, 0)
    np.testing.assert_array_equal(found, relu + 1 - relu * 2)
