"""Recurrent nets whose state is small: right where int8 can hold it, else the layer is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import pytest

from edgeward.convert.artifact.limits import CELL_STATE, broken_limits
from edgeward.convert.artifact.lint import describe
from edgeward.convert.artifact.tflite import FILE_IDENTIFIER, parse
from edgeward.convert.export import tflite
from edgeward.convert.export.exporter import Exporter
from edgeward.convert.export.fused_lstm import with_usable_cell_state
from edgeward.convert.layers.compare import layer_drift
from edgeward.convert.layers.report import LayerReport
from edgeward.convert.measure.measure import describe_artifact
from edgeward.convert.model.load import load_model
from edgeward.convert.settings import OLDEST
from edgeward.runtime.arrays import Floats
from edgeward.runtime.backends import available_backends, open_backend
from edgeward.runtime.errors import TargetError

pytestmark = pytest.mark.filterwarnings("ignore")

RUNTIMES = available_backends("tflite")
KERNELS = ("default", "reference")
SERIES = np.random.default_rng(0).normal(size=(200, 12, 3)).astype(np.float32)


@dataclass(frozen=True)
class Net:
    """A net whose output has the same size whatever its state's is."""

    expected: Floats
    int8: bytes
    twin: bytes
    stateful: bool

    def sqnr(self, data: bytes, runtime: str, kernels: str = "default") -> float:
        """How much of the float model's output the file leaves, in dB."""
        described = describe_artifact(
            *("tflite-int8", "m.tflite", data, describe("tflite-int8", self.int8, None)),
            stateful=self.stateful,
        )
        (into,), (out,) = described.inputs, described.outputs
        backend = open_backend(described, data, runtime, kernels=kernels)
        raw = np.clip(np.rint(SERIES / into.scale) + into.zero_point, -128, 127).astype(np.int8)
        found = np.concatenate([backend.run({"series": one[None]})["sign"] for one in raw])
        real = (found.astype(np.float64) - out.zero_point) * out.scale
        noise = np.square(real - self.expected).sum()
        return float(10 * np.log10(np.square(self.expected).sum() / noise))

    def compare(self, data: bytes) -> LayerReport:
        return layer_drift("tflite-int8", data, self.twin, {"series": SERIES[:24]})


def net(layers: list[keras.layers.Layer], state: float, folder: Path) -> Net:
    """Scale the weights until the state reaches ``state``, and the dense layer by the opposite."""
    keras.utils.set_random_seed(1)
    x = series = keras.Input((12, 3), name="series")
    for layer in layers:
        x = layer(x)
    features = keras.Model(series, x)
    kernels = [one for one in features.trainable_variables if "kernel" in one.path]
    for _ in range(6):
        # The output gate of a small state is half open.
        reached = 2 * float(np.abs(features(SERIES)).max())
        for kernel in kernels:
            kernel.assign(kernel * (state / reached) ** (1 / len(layers)))
    hidden = np.asarray(features(SERIES))
    weights = np.random.default_rng(1).normal(size=(hidden.shape[1], 2)) / hidden.std()
    dense = keras.layers.Dense(2, name="sign")
    model = keras.Model(series, dense(x))
    dense.set_weights([weights, -(hidden @ weights).mean(0)])
    model.save(folder / "m.keras")
    loaded = load_model(folder / "m.keras", ["series"], ["sign"])
    maker = Exporter(loaded, {"series": SERIES}, OLDEST, folder)
    data, stateful = maker.make("tflite-int8")
    expected = loaded.predict({"series": SERIES})["sign"]
    return Net(expected, data, maker.make("tflite-fp32")[0], stateful)


def lstm() -> list[keras.layers.Layer]:
    return [keras.layers.LSTM(8, name="memory")]


def cell_step(data: bytes, step: float | None = None) -> tuple[float, bytes]:
    """Return the step of the cell state, and the file with another."""
    model = parse(data)
    graph = model.subgraphs[0]
    grid = graph.tensors[graph.operators[0].inputs[CELL_STATE]].quantization
    found = float(grid.scale[0])
    grid.scale = np.array([found if step is None else step], np.float32)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return found, bytes(builder.Output())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return net(lstm(), 0.1, tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_lstm_with_a_small_cell_state_is_right_in_every_runtime(
    small: Net, runtime: str, kernels: str
) -> None:
    assert cell_step(small.int8)[0] == 2.0**-15
    assert small.sqnr(small.int8, runtime, kernels) > 30
    # The twin: with the step that the converter gives.
    assert small.sqnr(cell_step(small.int8, 2.0**-18)[1], runtime, kernels) < 0


@pytest.mark.parametrize("step", [2.0**-16, 2.0**-18, 2.0**-8, 1.1 * 2.0**-15])
def test_a_cell_state_without_tanh_is_refused_and_its_layer_named(small: Net, step: float) -> None:
    assert broken_limits(small.int8) == ()
    assert small.compare(small.int8).culprit is None
    damaged = cell_step(small.int8, step)[1]
    with pytest.raises(TargetError, match=r"SEQUENCE_LSTM .* a cell state in steps"):
        describe("tflite-int8", damaged, None)
    blamed = small.compare(damaged).culprit
    assert blamed is not None
    assert (blamed.layer, blamed.op) == ("memory", "UNIDIRECTIONAL_SEQUENCE_LSTM")
    assert "a cell state in steps of" in blamed.cause
    assert not blamed.tunable


def test_the_step_is_only_changed_where_the_kernel_needs_it(small: Net) -> None:
    for power in (-15, -12, -9):
        data = cell_step(small.int8, 2.0**power)[1]
        assert with_usable_cell_state(data) is data
    for step, usable in ((2.0**-19, 2.0**-15), (2.0**-7, 2.0**-9)):
        assert cell_step(with_usable_cell_state(cell_step(small.int8, step)[1]))[0] == usable
    assert with_usable_cell_state(small.twin) is small.twin


def test_the_file_without_the_change_is_what_the_converter_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tflite, "with_usable_cell_state", lambda data: data)
    made = net(lstm(), 0.1, tmp_path).int8
    assert cell_step(made)[0] < 2.0**-15
    assert broken_limits(made)


# dB that are left, or None where the state is smaller than the steps that the op itself has.
SCAN = {0.5: 30, 0.1: 30, 0.01: 15, 1e-3: None, 1e-4: None, 1e-5: None, 1e-6: None}


@pytest.mark.slow
@pytest.mark.parametrize("state", SCAN)
def test_what_is_too_small_for_int8_is_named_and_all_else_is_right(
    state: float, tmp_path: Path
) -> None:
    made, floor = net(lstm(), state, tmp_path), SCAN[state]
    assert cell_step(made.int8)[0] >= 2.0**-15
    for runtime in RUNTIMES:
        left = made.sqnr(made.int8, runtime)
        assert left > floor if floor is not None else left < 15
    blamed = made.compare(made.int8).culprit
    if state < 0.1:
        assert blamed is not None
        assert (blamed.layer, blamed.op) == ("memory", "UNIDIRECTIONAL_SEQUENCE_LSTM")
        assert "too small for int8" in blamed.cause
        assert "--fallback" in blamed.cause
    else:
        assert blamed is None


UNROLLED: dict[str, Callable[[], list[keras.layers.Layer]]] = {
    "gru": lambda: [keras.layers.GRU(6, name="memory")],
    "simple": lambda: [keras.layers.SimpleRNN(6, name="memory")],
    "bidirectional": lambda: [keras.layers.Bidirectional(keras.layers.LSTM(4), name="memory")],
    "two": lambda: [
        keras.layers.LSTM(6, return_sequences=True, name="memory_a"),
        keras.layers.LSTM(6, name="memory_b"),
    ],
    "hard": lambda: [keras.layers.LSTM(6, recurrent_activation="hard_sigmoid", name="memory")],
}


@pytest.mark.parametrize(
    "form",
    ["simple", *(pytest.param(f, marks=pytest.mark.slow) for f in UNROLLED if f != "simple")],
)
def test_an_unrolled_net_with_a_small_state_is_named_too(form: str, tmp_path: Path) -> None:
    made = net(UNROLLED[form](), 0.02, tmp_path)
    assert broken_limits(made.int8) == ()
    blamed = made.compare(made.int8).culprit
    assert blamed is not None
    assert blamed.layer.startswith("memory")
    assert blamed.op == "TANH"
    assert "too small for int8" in blamed.cause
