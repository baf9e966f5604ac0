"""The comparison layer by layer: quiet on what is whole, and pointing at what is damaged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import damage
import flatbuffers
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeward.convert.artifact.tflite import FILE_IDENTIFIER, parse, text_of
from edgeward.convert.layers import compare as compare_module
from edgeward.convert.layers.compare import COMPARABLE, compare_layers, layer_drift
from edgeward.convert.layers.probe import Grid
from edgeward.convert.layers.report import LayerReport, culprit
from edgeward.convert.layers.tally import Tally
from edgeward.convert.source.open import open_source
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import EdgewardError, InvalidModelError, TargetError
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.runtime.strict_json import dumps
from edgeward.train.run import Run

MADE = tuple(name for name in COMPARABLE if name != "tflite-int8-mixed")


@pytest.fixture(scope="module")
def feeds(run: Path) -> dict[str, Array]:
    """Preprocessed test samples."""
    opened = Run.open(run)
    samples = opened.samples("test").take(range(24))
    return {
        name: preprocess_batch(spec, samples.inputs[name])
        for name, spec in opened.info.inputs.items()
    }


@pytest.fixture(scope="module")
def compare(
    every_variant: dict[str, bytes], feeds: dict[str, Array]
) -> Callable[[str, bytes], LayerReport]:
    """Compare a file with its float twin."""

    def call(artifact_id: str, data: bytes) -> LayerReport:
        twin = every_variant[f"{artifact_id.partition('-')[0]}-fp32"]
        return layer_drift(artifact_id, data, twin, feeds)

    return call


def change_tflite(data: bytes, change: Callable[[object, object], None]) -> bytes:
    model = parse(data)
    change(model, model.subgraphs[0])
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def change_weight(part: str, place: int, change: Callable[[Array], Array]) -> Callable:
    """Change the weights (place 1) or the bias (place 2) of the op that writes ``part``."""

    def call(model, graph) -> None:
        operator = next(
            op for op in graph.operators if part in text_of(graph.tensors[op.outputs[0]].name)
        )
        tensor = graph.tensors[operator.inputs[place]]
        buffer = model.buffers[tensor.buffer]
        values = np.frombuffer(bytes(buffer.data), np.int8 if place == 1 else np.int32)
        changed = change(values.reshape(tensor.shape).copy()).astype(values.dtype)
        buffer.data = np.frombuffer(changed.tobytes(), np.uint8)

    return call


def change_grid(part: str, *, shift: int = 0, factor: float = 1.0) -> Callable:
    """Change scale and zero point of the activation called ``part``."""

    def call(model, graph) -> None:
        outputs = [graph.tensors[op.outputs[0]] for op in graph.operators]
        grid = next(t for t in outputs if part in text_of(t.name)).quantization
        grid.zeroPoint = np.array([int(grid.zeroPoint[0]) + shift])
        grid.scale = np.array([grid.scale[0] * factor], np.float32)

    return call


def halve_channel_3(values: Array) -> Array:
    values[3] = values[3] // 2
    return values


def raise_element_2(values: Array) -> Array:
    values[2] += 20_000
    return values


def shift_by(steps: int) -> Callable[[Array], Array]:
    return lambda values: np.clip(values.astype(int) + steps, -127, 127)


@pytest.mark.parametrize("artifact_id", MADE)
def test_no_layer_of_a_whole_artifact_is_blamed(
    artifact_id: str, every_variant: dict[str, bytes], compare: Callable[..., LayerReport]
) -> None:
    report = compare(artifact_id, every_variant[artifact_id])
    assert report.culprit is None
    assert report.samples == 24
    # Only what the converter puts before and behind a file with float edges has no counterpart.
    assert report.tensors - report.matched == (2 if artifact_id.endswith("floatio") else 0)
    assert [one.own_sqnr for one in report.layers] == sorted(o.own_sqnr for o in report.layers)
    assert report.layers[0].own_sqnr > 33
    names = {one.layer.rstrip("_0123456789") for one in report.layers}
    assert {"conv2d", "dense", "digit"} <= names


CASES: Mapping[str, tuple[Callable, str, str]] = {
    "half a channel": (change_weight("/conv2d", 1, halve_channel_3), "CONV_2D", "channel 3 (1 of"),
    "half an output": (
        change_weight("/digit_", 1, halve_channel_3), "FULLY_CONNECTED", "channel 3 (1 of 10)",
    ),
    "rolled channels": (
        change_weight("/digit_", 1, lambda v: np.roll(v, 1, axis=0)), "FULLY_CONNECTED",
        "10 of 10",
    ),
    "weights + 1": (change_weight("/digit_", 1, shift_by(1)), "FULLY_CONNECTED", "weights of"),
    "weights + 3": (change_weight("/conv2d", 1, shift_by(3)), "CONV_2D", "weights of"),
    "bias": (change_weight("/conv2d", 2, raise_element_2), "CONV_2D", "bias of channel 2 (1 of"),
    "zero point + 3": (change_grid("/conv2d", shift=3), "MAX_POOL_2D", "off by +3.0 steps"),
    "scale x 0.1": (change_grid("/conv2d", factor=0.1), "MAX_POOL_2D", "10 times what it should"),
    "narrow range": (change_grid("/digit_", factor=0.1), "FULLY_CONNECTED", "range too narrow"),
    "wide range": (change_grid("/digit_", factor=30), "FULLY_CONNECTED", "range much too wide"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_damage_to_a_tflite_file_is_found_where_it_is(
    case: str, every_variant: dict[str, bytes], compare: Callable[..., LayerReport]
) -> None:
    change, op, words = CASES[case]
    blamed = compare("tflite-int8", change_tflite(every_variant["tflite-int8"], change)).culprit
    assert blamed is not None
    assert blamed.op == op
    assert words in blamed.sentence


def change_onnx(
    data: bytes, op: str, number: int, place: int, change: Callable[[Array], Array]
) -> bytes:
    """Change a constant that the node ``number`` of a kind reads."""
    model = onnx.load_model_from_string(data)
    name = [node for node in model.graph.node if node.op_type == op][number].input[place]
    tensor = next(t for t in model.graph.initializer if t.name == name)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(values.copy()).astype(values.dtype), name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("op", "number", "place", "change", "where", "words"),
    [
        # The first dequantised constants: bias of the convolution, then its weights.
        ("DequantizeLinear", 1, 2, lambda z: z + 3, "Conv", "weights of channels"),
        ("DequantizeLinear", 1, 1, lambda s: s * (1 + (np.arange(len(s)) == 3)), "Conv",
         "weights of channel 3 (1 of"),
        # The first quantised activations: the input, then the convolution's.
        ("QuantizeLinear", 0, 1, lambda s: s * 0.01, "Reshape", "range too narrow"),
        ("QuantizeLinear", 1, 2, lambda z: z + 10, "Conv", "values below 0 come through"),
        ("QuantizeLinear", 1, 1, lambda s: s * 100, "Conv", "range much too wide"),
    ],
)  # fmt: skip
def test_damage_to_an_onnx_file_is_found_where_it_is(
    op: str, number: int, place: int, change: Callable, where: str, words: str,
    every_variant: dict[str, bytes], compare: Callable[..., LayerReport],
) -> None:  # fmt: skip
    damaged = change_onnx(every_variant["onnx-int8"], op, number, place, change)
    blamed = compare("onnx-int8", damaged).culprit
    assert blamed is not None
    assert (blamed.op, words in blamed.sentence) == (where, True), blamed.sentence


@pytest.mark.parametrize("artifact_id", ["tflite-int8", "onnx-int8"])
def test_noise_that_arrives_is_not_noise_that_arises(
    artifact_id: str, every_variant: dict[str, bytes], compare: Callable[..., LayerReport]
) -> None:
    report = compare(artifact_id, damage.break_artifact(artifact_id, every_variant[artifact_id]))
    assert report.culprit is not None
    assert "differ from the float model's by 200 %" in report.culprit.cause
    last = next(one for one in report.layers if one.op.lower() == "softmax")
    assert last.sqnr < 10 < 30 < last.own_sqnr
    assert last.cause == ""
    assert culprit([one for one in report.layers if one is not report.culprit]) is None


def test_wrong_samples_are_no_layers_fault(
    every_variant: dict[str, bytes], feeds: dict[str, Array]
) -> None:
    scaled = {name: array * np.float32(0.3) for name, array in feeds.items()}
    found = layer_drift(
        "tflite-int8", every_variant["tflite-int8"], every_variant["tflite-fp32"], scaled
    )
    assert found.culprit is None


def test_a_file_of_another_model_is_not_compared_by_guessing(
    every_variant: dict[str, bytes], feeds: dict[str, Array]
) -> None:
    def rename(_: object, graph) -> None:
        for operator in graph.operators[:-1]:
            for index in operator.outputs:
                graph.tensors[index].name = f"other/{index}"

    twin = change_tflite(every_variant["tflite-fp32"], rename)
    report = layer_drift("tflite-int8", every_variant["tflite-int8"], twin, feeds)
    assert report.matched == 1
    assert report.tensors == 6
    with pytest.raises(InvalidModelError):
        layer_drift("tflite-int8", every_variant["tflite-int8"], b"no file", feeds)


def test_the_report_has_json_numbers(run: Path, every_variant: dict[str, bytes]) -> None:
    source = open_source(run)
    report = compare_layers(
        "tflite-int8", every_variant["tflite-int8"], every_variant["tflite-fp32"], source
    )
    assert report is not None
    assert report.samples == 48
    assert json.loads(dumps(asdict(report)))["layers"][0]["own_sqnr"] > 33
    assert compare_layers("tflite-fp16", b"", b"", source) is None
    with pytest.raises(EdgewardError):
        compare_layers("onnx-int8", b"no file", every_variant["onnx-fp32"], source)


def test_tally_counts_what_does_not_fit() -> None:
    tally = Tally(Grid(0.5, 0, "int8"))
    assert (tally.grid.low, tally.grid.high) == (-64.0, 63.5)
    here = np.float32([0.0, 1.0, 63.5, 100.0])
    tally.add(here, here, np.clip(here, -64, np.float32(63.5)))
    assert tally.clipped == tally.clipped_here == 0.25
    assert tally.clipping == 1.0
    assert tally.used == 127
    whole = Tally(Grid(0.5, 0, "int8"))
    whole.add(here[:3], here[:3], here[:3])
    assert (whole.clipped, whole.sqnr, whole.own_sqnr) == (0.0, 300.0, 300.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_give_the_lowest_ratio(bad: float) -> None:
    tally = Tally(None)
    with np.errstate(invalid="ignore"):
        tally.add(np.float32([1.0]), np.float32([1.0]), np.float32([bad]))
    assert tally.sqnr == tally.own_sqnr == -300.0


def test_comparison_that_hangs_is_an_error_that_names_it(
    run: Path, every_variant: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_module, "layer_drift", lambda *_: time.sleep(600))
    files = (every_variant["tflite-int8"], every_variant["tflite-fp32"])
    with pytest.raises(TargetError, match="out of time: comparing tflite-int8") as caught:
        compare_layers("tflite-int8", *files, open_source(run), timeout=0.5)
    assert caught.value.transient
