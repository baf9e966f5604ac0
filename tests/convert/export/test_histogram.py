"""Ranges of activations: the arithmetic, and that both formats take what it chooses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest

from edgeward.convert.artifact.lint import describe
from edgeward.convert.artifact.tflite import read_graph
from edgeward.convert.export import tflite as to_tflite
from edgeward.convert.export.exporter import Exporter
from edgeward.convert.export.histogram import Histogram
from edgeward.convert.export.tflite_quantiser import quantise_with
from edgeward.convert.model.load import load_model
from edgeward.convert.settings import METHODS, OLDEST, Settings
from edgeward.runtime.errors import TargetError

pytestmark = pytest.mark.filterwarnings("ignore")

GENERATOR = np.random.default_rng(0)


def histogram(values: np.ndarray) -> Histogram:
    counts = Histogram(values.min(), values.max())
    for part in np.array_split(values, 7):
        counts.add(part)
    return counts


def error_of(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of int8 over this range, by quantising: the definition."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero = np.rint(-128 - low / scale)
    steps = np.clip(np.rint(values / scale) + zero, -128, 127)
    return float((((steps - zero) * scale - values) ** 2).mean())


OUTLIERS = np.append(GENERATOR.normal(0, 1, 200_000), [60.0, -25.0])
POSITIVE = np.maximum(GENERATOR.standard_t(3, 200_000), 0)
# No value near zero, which every quantiser must hold all the same.
FAR = GENERATOR.gamma(2, 1, 200_000) + 5


def test_min_max_is_what_was_seen() -> None:
    assert histogram(OUTLIERS).range("min-max") == (-25.0, 60.0)


@pytest.mark.parametrize("percent", [99.9, 99.99])
@pytest.mark.parametrize("values", [OUTLIERS, POSITIVE])
def test_percentile_is_the_one_of_numpy(values: np.ndarray, percent: float) -> None:
    low, high = histogram(values).range(f"percentile-{percent}")
    cut = (100 - percent) / 2
    expected = np.percentile(values, [cut, 100 - cut])
    width = (values.max() - values.min()) / 2048
    assert np.abs(np.array([low, high]) - expected).max() <= 2 * width


@pytest.mark.parametrize("values", [OUTLIERS, POSITIVE, -POSITIVE, FAR])
def test_mse_quantises_with_less_error_than_any_other_method(values: np.ndarray) -> None:
    counts = histogram(values)
    errors = {method: error_of(values, *counts.range(method)) for method in METHODS}
    assert errors["mse"] <= min(errors.values()) * 1.02
    # The twin: half of the chosen range is worse, so the choice is no mere clipping.
    low, high = counts.range("mse")
    assert error_of(values, low / 2, high / 2) > errors["mse"]


def test_mse_keeps_a_range_without_outliers() -> None:
    low, high = histogram(GENERATOR.uniform(-1, 1, 100_000)).range("mse")
    assert low < -0.95
    assert high > 0.95


def test_activation_that_never_changes_has_its_range() -> None:
    for method in METHODS:
        assert histogram(np.zeros(10)).range(method) == (0.0, 0.0)
        assert histogram(np.full(10, 2.0)).range(method) == (2.0, 2.0)


# ---- in the files


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def samples(count: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    array = generator.normal(0, 0.3, (count, 12, 12, 3)).astype(np.float32)
    array[0, 0, 0] = 30.0  # one pixel that spoils the range of what follows
    return array


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    keras.utils.set_random_seed(2)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), name="x"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.Conv2D(8, 1),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="y"),
        ]
    )
    folder = tmp_path_factory.mktemp("ranges")
    model.save(folder / "m.keras")
    loaded = load_model(folder / "m.keras", ["x"], ["y"])
    return Exporter(loaded, {"x": samples(40)}, OLDEST, folder)


def tflite_ranges(data: bytes) -> dict[str, float]:
    """Activation -> width of its range in steps of its scale."""
    graph = read_graph(data)
    return {t.name: t.scales[0] * 255 for t in graph.tensors if not t.size and len(t.scales) == 1}


def onnx_ranges(data: bytes) -> dict[str, float]:
    model = onnx.load_from_string(data)
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    return {
        node.input[0]: float(constants[node.input[1]]) * 255
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_each_method_gives_its_own_ranges_and_leaves_the_edges(
    maker: Exporter, format_: str
) -> None:
    read = tflite_ranges if format_ == "tflite" else onnx_ranges
    widths: dict[str, dict[str, float]] = {}
    for method in METHODS:
        data, _ = maker.make(f"{format_}-int8", Settings(method))
        description = describe(f"{format_}-int8", data, None)
        widths[method] = read(data)
        edges = {t.name for t in (*description.inputs, *description.outputs)}
    inner = [name for name in widths["min-max"] if name not in edges]
    assert len(inner) >= 3
    for method in METHODS[1:]:
        assert widths[method].keys() == widths["min-max"].keys()
        for name in edges & widths["min-max"].keys():
            assert widths[method][name] == pytest.approx(widths["min-max"][name])
        assert all(widths[method][name] <= widths["min-max"][name] * 1.0001 for name in inner)
        assert min(widths[method][name] / widths["min-max"][name] for name in inner) < 0.97


def test_both_formats_choose_the_same_ranges(maker: Exporter) -> None:
    for method in METHODS:
        tflite = tflite_ranges(maker.make("tflite-int8", Settings(method))[0])
        ours = onnx_ranges(maker.make("onnx-int8", Settings(method))[0])
        # The first convolution: both fold its ReLU and name it differently.
        near = [min(abs(width / other - 1) for other in ours.values()) for width in tflite.values()]
        assert sorted(near)[len(near) // 2] < 0.02, method


def test_min_max_through_our_own_steps_is_the_converters_file(
    maker: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What differs with other settings is the ranges, and nothing of how they are applied."""
    plain, _ = maker.make("tflite-int8")
    assert digest(maker.make("tflite-int8", Settings())[0]) == digest(plain)
    seen: list[str] = []

    def always(converter: Any, settings: Settings, outputs: dict[str, str]) -> None:
        seen.append(settings.method)
        quantise_with(converter, settings, converter.representative_dataset, outputs)

    monkeypatch.setattr(to_tflite, "_settle", always)
    assert digest(maker.make("tflite-int8")[0]) == digest(plain)
    # The twin: other ranges, another file.
    assert digest(maker.make("tflite-int8", Settings("mse"))[0]) != digest(plain)
    assert seen == ["min-max", "mse"]


def test_fewer_samples_are_the_first_ones(maker: Exporter, tmp_path: Path) -> None:
    few = Exporter(maker._models.loaded, {"x": samples(40)[:10]}, OLDEST, tmp_path)
    for artifact_id in ("tflite-int8", "tflite-int16x8"):
        whole, _ = maker.make(artifact_id)
        assert maker.make(artifact_id, Settings(samples=10))[0] == few.make(artifact_id)[0]
        assert maker.make(artifact_id, Settings(samples=40))[0] == whole
    assert tflite_ranges(maker.make("tflite-int8", Settings(samples=10))[0]) != tflite_ranges(whole)


# ---- recurrent nets, token ids


def recurrent(folder: Path, layer: keras.layers.Layer) -> Exporter:
    model = keras.Sequential(
        [
            keras.Input((6,), name="ids", dtype="int32"),
            keras.layers.Embedding(20, 4),
            layer,
            keras.layers.Dense(1, name="y"),
        ]
    )
    model.save(folder / "m.keras")
    loaded = load_model(folder / "m.keras", ["ids"], ["y"])
    ids = np.random.default_rng(0).integers(0, 20, (30, 6)).astype(np.int32)
    return Exporter(loaded, {"ids": ids}, OLDEST, folder)


def test_unrolled_net_on_token_ids_takes_every_method(tmp_path: Path) -> None:
    maker = recurrent(tmp_path, keras.layers.GRU(4))
    made = [maker.make("tflite-int8", Settings(method))[0] for method in METHODS]
    for data in made:
        assert describe("tflite-int8", data, None).inputs[0].dtype == "int32"
    assert made[0] != made[2]


def test_fused_lstm_refuses_what_cannot_be_seen_inside_it(tmp_path: Path) -> None:
    maker = recurrent(tmp_path, keras.layers.LSTM(4))
    with pytest.raises(TargetError, match="UNIDIRECTIONAL_SEQUENCE_LSTM and mse"):
        maker.make("tflite-int8", Settings("mse"))
    data, stateful = maker.make("tflite-int8", Settings(samples=10))
    assert stateful
    assert data != maker.make("tflite-int8")[0]
