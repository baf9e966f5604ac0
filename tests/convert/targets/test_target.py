"""Targets: the tables tell the truth, and what does not fit is named with layer and remedy."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from onnx import TensorProto, helper
from support import REPOSITORY, RunPython

from edgeward.convert.artifact.locate import CUSTOM, TFLITE, LocatedOp, locate_ops
from edgeward.convert.artifact.tflite import read_graph
from edgeward.convert.targets.table import FOLDER, read_tables
from edgeward.convert.targets.target import (
    TARGETS,
    adapt,
    choose_targets,
    default_target,
    min_runtimes,
    misfits,
    parse_target,
    switches_for,
)
from edgeward.runtime.errors import InvalidModelError, TargetError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore")

OLD, NEW, MICRO = (
    parse_target(t) for t in ("tflite-runtime==2.14.0", "ai-edge-litert==2.3.0", "tflite-micro")
)
LAYERS = ("conv", "flatten", "dense_2", "dense")


def convert(model: keras.Model, *, dynamic: bool = False, float16: bool = False) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if dynamic or float16:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if float16:
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A small net whose names end in numbers, and not in the order of the layers."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 4), batch_size=1, name="image"),
            keras.layers.Conv2D(8, 3, activation="relu", name="conv"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(16, activation="relu", name="dense_2"),
            keras.layers.Dense(80, name="dense"),
        ],
        name="net_7",
    )


@pytest.fixture(scope="module")
def dynamic(model: keras.Model) -> bytes:
    """What the converter writes unless told otherwise: one scale per channel in dense layers."""
    return convert(model, dynamic=True)


# ---- the tables


def check_tables(run_python: RunPython, *arguments: object):
    return run_python(REPOSITORY / "scripts" / "make_op_tables.py", "--check", *arguments)


@pytest.mark.parametrize(
    "runtime", ["tflite-runtime-2.14.0", "ai-edge-litert-2.3.0", "onnxruntime"]
)
def test_table_is_what_the_installed_runtime_registers(run_python: RunPython, runtime: str) -> None:
    if runtime.startswith("tflite-runtime") and sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheel for this Python")
    done = check_tables(run_python, "--only", runtime)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as the table says" in done.stdout


def test_falsified_tables_are_found(run_python: RunPython, tmp_path: Path) -> None:
    """One version too many, one too few, an op that is not there, one that is left out."""
    tables = tmp_path / "tables"
    shutil.copytree(FOLDER, tables)
    file = tables / "ai-edge-litert-2.3.0.json"
    table = json.loads(file.read_text())
    table["ops"]["FULLY_CONNECTED"][1] += 1
    table["ops"]["SOFTMAX"][1] -= 1
    table["ops"]["STABLEHLO_CBRT"] = [1, 1]
    del table["ops"]["RELU"]
    file.write_text(json.dumps(table))
    done = check_tables(run_python, "--only", "ai-edge-litert-2.3.0", "--tables", tables)
    assert done.returncode == 1, done.stderr
    wrong = {line.split()[1] for line in done.stdout.splitlines()}
    assert wrong == {"FULLY_CONNECTED", "SOFTMAX", "STABLEHLO_CBRT", "RELU"}

    file = tables / "onnxruntime.json"
    table = json.loads(file.read_text())
    table["releases"]["1.32"]["ir"] += 1
    del table["com_microsoft"]["QGemm"]
    file.write_text(json.dumps(table))
    done = check_tables(run_python, "--only", "onnxruntime", "--tables", tables)
    assert done.returncode == 1, done.stderr
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"ir:", "QGemm:"}


def test_every_table_has_a_source_and_a_day() -> None:
    assert set(read_tables()) == {
        "ai-edge-litert", "android-tflite", "litert.js", "onnxruntime", "tflite-micro",
        "tflite-runtime",
    }  # fmt: skip
    for target in TARGETS:
        assert len(target.table.source) > 40
        assert target.table.probed_on.startswith("20")
        assert len(target.table.ops) > 50
    assert [str(t) for t in TARGETS if not t.table.versioned] == [str(MICRO)]


def test_the_page_on_targets_counts_right() -> None:
    page = (REPOSITORY / "docs" / "targets.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for target in TARGETS:
        if target.format == "tflite":
            versioned = (
                f"=={target.version}" if target.name not in ("litert.js", MICRO.name) else ""
            )
            count = len(target.table.ops)
            assert any(
                row.startswith(f"| `{target.name}{versioned}` | TFLite | {count}") for row in rows
            ), target


# ---- real files


def test_real_mnist_int8_fits_old_new_and_micro(every_variant: dict[str, bytes]) -> None:
    located = locate_ops(every_variant["tflite-int8"])
    for target in (OLD, NEW, MICRO):
        assert misfits(target, located) == []
    assert set(min_runtimes(located)) == {
        "ai-edge-litert", "android-tflite", "tflite-micro", "tflite-runtime"
    }  # fmt: skip
    # Its int8 edges are what LiteRT.js cannot feed.
    browser = misfits(parse_target("litert.js"), located)
    assert {misfit.has for misfit in browser} == {"float32, int32 or uint8 inputs and outputs"}
    assert all("floatio" in misfit.remedy for misfit in browser)


def test_real_onnx_files_fit_the_oldest_onnxruntime(every_variant: dict[str, bytes]) -> None:
    for artifact_id in ("onnx-fp32", "onnx-int8", "onnx-dynamic"):
        located = locate_ops(every_variant[artifact_id])
        assert misfits(default_target("onnx"), located) == [], artifact_id
        assert min_runtimes(located) == {"onnxruntime": "1.12"}


def test_dense_weights_per_channel_do_not_fit_the_old_runtime(dynamic: bytes) -> None:
    found = misfits(OLD, locate_ops(dynamic))
    assert {(m.op, m.version, m.has) for m in found} == {("FULLY_CONNECTED", 12, "v1 to v10")}
    assert {m.layer for m in found} == {"dense", "dense_2"}
    assert all("per_channel_quantization_for_dense" in m.remedy for m in found)
    assert misfits(NEW, locate_ops(dynamic)) == []
    assert min_runtimes(locate_ops(dynamic)) == {"ai-edge-litert": "1.0.1", "litert.js": "2.5.3"}
    with pytest.raises(TargetError) as caught:
        OLD.check("tflite-dynamic", dynamic)
    assert caught.value.exit_code == 4
    assert "FULLY_CONNECTED v12 in dense_2, dense" in str(caught.value)
    NEW.check("tflite-dynamic", dynamic)


def test_the_old_runtime_really_cannot_load_what_misfits(dynamic: bytes, tmp_path: Path) -> None:
    interpreter = pytest.importorskip("tflite_runtime.interpreter")
    with pytest.raises(ValueError, match="'FULLY_CONNECTED' version '12'"):
        interpreter.Interpreter(model_content=dynamic)


def test_micro_takes_no_float_activations_with_int8_weights(
    model: keras.Model, dynamic: bytes
) -> None:
    """Verified with the wheel: "Input type: FLOAT32 with filter type: INT8 not supported"."""
    hybrid = misfits(MICRO, locate_ops(dynamic))
    assert {m.has for m in hybrid} == {"integer activations where weights are integers"}
    half = misfits(MICRO, locate_ops(convert(model, float16=True)))
    assert {(m.op, m.has) for m in half} == {("DEQUANTIZE", "no float16 weights")}
    assert misfits(MICRO, locate_ops(convert(model))) == []


# ---- layers


def test_layers_are_those_of_the_keras_model(model: keras.Model, dynamic: bytes) -> None:
    for data in (dynamic, convert(model)):
        for known in ((), LAYERS):
            assert [op.layer for op in locate_ops(data, known)] == list(LAYERS)


def test_layers_of_nested_and_folded_models_are_found() -> None:
    image = keras.Input((8, 8, 3), batch_size=1, name="image")
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="first_1")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Flatten(name="flat")(x)
    head = keras.Sequential([keras.layers.Dense(5), keras.layers.Dense(3)], name="head")
    data = convert(keras.Model(image, keras.layers.Softmax(name="last")(head(x))))
    inner = [f"head/{layer.name}" for layer in head.layers]
    # The output has the name of an output, not of a layer: it belongs to what it follows.
    assert [op.layer for op in locate_ops(data)] == ["first_1", "flat", *inner, inner[-1]]


def test_layers_in_other_naming_styles_are_settled_by_their_names() -> None:
    from edgeward.convert.artifact.locate import _layer

    assert _layer("mnist_cnn/dense_1/MatMul", frozenset()) == "dense_1"
    assert _layer("model_1/dense_2_1/MatMul", frozenset()) == "dense_2"
    assert _layer("model_1/dense_2/MatMul", frozenset({"dense_2"})) == "dense_2"
    assert _layer("StatefulPartitionedCall/net/dense/MatMul", frozenset()) == "dense"
    assert _layer("net_1/lstm_1/while/lstm_cell_1/MatMul", frozenset()) == "lstm"
    assert _layer("arith.constant3", frozenset()) == ""


def test_onnx_nodes_have_layers_too(every_variant: dict[str, bytes]) -> None:
    convolutions = [op for op in locate_ops(every_variant["onnx-fp32"]) if op.op == "Conv"]
    keras_layers = [
        op.layer for op in locate_ops(every_variant["tflite-fp32"]) if op.op == "CONV_2D"
    ]
    assert [op.layer for op in convolutions] == keras_layers != []


def test_garbage_has_no_ops() -> None:
    with pytest.raises(InvalidModelError):
        locate_ops(b"nothing like a model" * 10)


# ---- spelling


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("tflite-runtime==2.14.0", "2.14.0"),
        ("TFLite-Runtime==2.14", "2.14.0"),
        ("ai-edge-litert==2.2.0", "2.1.0"),
        ("ai-edge-litert==9.0", "2.3.0"),
        ("ai-edge-litert", "1.0.1"),
        ("android-tflite==2.16.1", "2.16.1"),
        ("litert.js", "2.5.3"),
        ("onnxruntime==1.20.1", "1.20"),
        ("onnxruntime==1.99", "1.32"),
    ],
)
def test_target_takes_the_newest_table_that_is_not_newer(text: str, table: str) -> None:
    target = parse_target(text)
    assert target.table.version == table
    assert bool(target.note) == (
        text in ("ai-edge-litert==2.2.0", "ai-edge-litert==9.0", "onnxruntime==1.99")
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tensorrt==10.0", "tflite-micro"),
        ("", "tflite-runtime==2.14.0"),
        ("tflite-runtime==2.5.0", "2.14.0"),
        ("tflite-runtime>=2.14.0", "NAME|VERSION"),
        ("onnxruntime==1.x", "onnxruntime==1.12"),
        ("onnxruntime==1.11", "older"),
    ],
)
def test_unknown_targets_are_refused_with_the_known_ones(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_target(text)


def test_several_targets_all_have_to_accept_what_is_made() -> None:
    both = choose_targets(["ai-edge-litert==2.3.0", "litert.js"], ("tflite", "onnx"))
    assert [str(one) for one in both["tflite"]] == ["ai-edge-litert 2.3.0", "litert.js 2.5.3"]
    assert [one.named for one in (*both["tflite"], *both["onnx"])] == [True, True, False]
    assert [one.backend for one in both["tflite"]] == ["litert", ""]
    # What one of them needs is made, wherever it stands.
    assert adapt(["tflite-int8"], both)[0] == ["tflite-int8-floatio"]
    old = choose_targets(["ai-edge-litert==2.3.0", "tflite-runtime==2.14.0"], ("tflite",))
    assert switches_for(old).per_tensor_dense
    # The twin: without the one that needs it, it is not.
    alone = choose_targets("ai-edge-litert==2.3.0", ("tflite",))
    assert adapt(["tflite-int8"], alone)[0] == ["tflite-int8"]
    assert not switches_for(alone).per_tensor_dense
    twice = choose_targets(["litert.js", "litert.js"], ("tflite",))
    assert len(twice["tflite"]) == 1
    assert not any(one.named for some in choose_targets([], ("tflite",)).values() for one in some)
    with pytest.raises(UsageError, match="none is to be made"):
        choose_targets(["ai-edge-litert==2.3.0", "onnxruntime"], ("tflite",))


def test_default_targets_are_the_oldest_supported() -> None:
    from edgeward.convert.export.onnx import OPSET

    assert str(default_target("tflite")) == "tflite-runtime 2.14.0"
    target = default_target("onnx")
    reading = [t for t in TARGETS if t.format == "onnx" and t.table.ops["ai.onnx"][1] >= OPSET]
    assert target == reading[0]
    with pytest.raises(UsageError):
        default_target("c")


# ---- misfits of ONNX, custom ops, remedies


def onnx_file(op: str, opset: int, ir: int, domain: str = "") -> bytes:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy")
    node = helper.make_node(op, ["x"], ["y"], name="net/layer/op", domain=domain)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "g", [x], [y])
    return helper.make_model(graph, opset_imports=imports, ir_version=ir).SerializeToString()


@pytest.mark.parametrize(
    ("data", "op", "lowest"),
    [
        (onnx_file("Relu", 17, 8), None, "1.12"),
        (onnx_file("Relu", 18, 8), "Relu", "1.14"),
        (onnx_file("Relu", 17, 9), "IR", "1.15"),
        (onnx_file("Gelu", 17, 8, "com.microsoft"), None, "1.12"),
        (onnx_file("QuickGelu", 17, 8, "com.microsoft"), "QuickGelu", "1.14"),
        (onnx_file("Nonsense", 17, 8, "com.microsoft"), "Nonsense", None),
    ],
)
def test_onnx_needs_opset_file_version_and_ops(data: bytes, op: str | None, lowest: str) -> None:
    located = locate_ops(data)
    found = misfits(default_target("onnx"), located)
    assert [m.op for m in found] == ([op] if op else [])
    assert all(m.remedy for m in found)
    assert min_runtimes(located) == ({"onnxruntime": lowest} if lowest else {})


def test_custom_and_flex_ops_fit_nowhere() -> None:
    located = [LocatedOp("FlexErfinv", 1, 0, "erfinv", CUSTOM)]
    for target in TARGETS:
        if target.format == "tflite":
            (misfit,) = misfits(target, located)
            assert misfit.layer == "erfinv" and "SELECT_TF_OPS" in misfit.remedy
    assert min_runtimes(located) == {}


def test_a_file_of_the_other_format_is_no_match(dynamic: bytes) -> None:
    with pytest.raises(UsageError, match="onnx"):
        misfits(default_target("onnx"), locate_ops(dynamic))


# What TensorFlow 2.21 emits for 60 Keras layers and operations and a runtime does not hold.
EMITTED = (
    "ATAN2", "COMPLEX_ABS", "CONV_3D", "GELU", "LOCAL_RESPONSE_NORMALIZATION",
    "NON_MAX_SUPPRESSION_V4", "ONE_HOT", "POW", "REDUCE_ANY", "REDUCE_PROD", "RFFT2D", "SELECT",
    "SIGN", "TILE", "TOPK_V2", "UNSORTED_SEGMENT_SUM",
)  # fmt: skip


@pytest.mark.parametrize("op", EMITTED)
def test_every_op_that_misfits_in_practice_has_a_remedy_of_its_own(op: str) -> None:
    (misfit,) = misfits(MICRO, [LocatedOp(op, 1, 0, "layer", TFLITE)])
    assert misfit.has == "no such op"
    assert "replace the layer" not in misfit.remedy


def test_an_op_without_remedy_of_its_own_names_who_holds_it() -> None:
    (misfit,) = misfits(OLD, [LocatedOp("SOFTMAX", 4, 0, "last", TFLITE)])
    assert "ai-edge-litert 2.3.0" in misfit.remedy and "last" in misfit.remedy


class Own(keras.layers.Layer):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("op", "emits", "remedy"),
    [
        ("GELU", keras.ops.gelu, lambda x: x * keras.ops.sigmoid(1.702 * x)),
        (
            "SELECT",
            lambda x: keras.ops.where(x > 0, x, 2 * x),
            lambda x: keras.ops.cast(x > 0, "float32") * x,
        ),
        ("TILE", lambda x: keras.ops.tile(x, (1, 3)), lambda x: keras.ops.concatenate([x] * 3)),
        ("POW", lambda x: x**2.5, lambda x: keras.ops.exp(2.5 * keras.ops.log(x))),
    ],
    ids=["GELU", "SELECT", "TILE", "POW"],
)
def test_the_remedy_gives_a_file_that_fits_micro(op: str, emits: object, remedy: object) -> None:
    x = keras.Input((8,), batch_size=1)
    broken, fixed = (convert(keras.Model(x, Own(f)(x))) for f in (emits, remedy))
    assert op in {o.name for o in read_graph(broken).ops}
    assert [m.op for m in misfits(MICRO, locate_ops(broken))] == [op]
    assert misfits(MICRO, locate_ops(fixed)) == []


def test_a_target_that_is_installed_must_have_run_the_artifact() -> None:
    NEW.check_measured("tflite-int8", {"tflite": "another runtime failed"})
    parse_target("ai-edge-litert==1.0.1").check_measured("tflite-int8", {"litert": "newer failed"})
    with pytest.raises(TargetError, match=r"does not run on ai-edge-litert 2\.3\.0"):
        NEW.check_measured("tflite-int8", {"litert": "kernel failed"})


def test_a_target_is_installed_in_its_version_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "ai-edge-litert":
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.3"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert NEW.installed  # 2.3.0 and 2.3 are one version
    assert not parse_target("ai-edge-litert==1.0.1").installed
    assert not OLD.installed
    assert not parse_target("litert.js").installed
    OLD.check_measured("tflite-int8", {OLD.backend: "not installed"})
