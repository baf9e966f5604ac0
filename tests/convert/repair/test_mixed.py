"""``tflite-int8-mixed``: what is named stays float, all else is int8, and the lint proves it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from answers import answers, sqnr

from edgeward.convert.artifact.lint import describe
from edgeward.convert.artifact.tflite_lint import island_around, lint_mixed
from edgeward.convert.export.exporter import Exporter
from edgeward.convert.model.load import load_model
from edgeward.convert.settings import OLDEST, Settings
from edgeward.runtime.backends import available_backends
from edgeward.runtime.errors import TargetError

pytestmark = pytest.mark.filterwarnings("ignore")

MIXED = "tflite-int8-mixed"


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).random((count, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """A depthwise net with one layer whose channels differ by a factor of 1,000."""
    keras.utils.set_random_seed(2)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3), name="x"),
            layers.Conv2D(32, 3, strides=2, activation="relu", name="first"),
            layers.DepthwiseConv2D(3, activation="relu", name="uneven"),
            layers.Conv2D(32, 1, activation="relu", name="after"),
            layers.Conv2D(32, 3, activation="relu", name="last"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="y"),
        ]
    )
    factors = np.geomspace(1e-3, 1, 32)
    uneven, after = model.get_layer("uneven"), model.get_layer("after")
    uneven.kernel.assign(uneven.kernel.numpy() * factors[None, None, :, None])
    after.kernel.assign(after.kernel.numpy() / factors[None, None, :, None])
    folder = tmp_path_factory.mktemp("mixed")
    model.save(folder / "m.keras")
    loaded = load_model(folder / "m.keras", ["x"], ["y"])
    return Exporter(loaded, {"x": images(40)}, OLDEST, folder)


@pytest.fixture(scope="module")
def twin(maker: Exporter) -> bytes:
    return maker.make("tflite-fp32")[0]


@pytest.fixture(scope="module")
def layers(twin: bytes) -> tuple[str, ...]:
    """The island around the activation whose channels differ."""
    (name,) = (n for n in island_around(twin, "x") if "first" in n)
    uneven = next(n for n in island_around(twin, name) if "uneven" in n)
    return island_around(twin, uneven)


@pytest.fixture(scope="module")
def mixed(maker: Exporter, layers: tuple[str, ...]) -> bytes:
    return maker.make(MIXED, Settings(float_layers=layers))[0]


def run(artifact_id: str, data: bytes, count: int = 30) -> np.ndarray:
    return answers(artifact_id, data, images(count), "y")


def test_island_is_the_op_that_writes_and_those_that_read(
    twin: bytes, layers: tuple[str, ...]
) -> None:
    assert len(layers) == 2
    assert "uneven" in layers[0]
    assert "after" in layers[1]
    assert island_around(twin, "y") == ("y",)
    assert island_around(twin, "nobody") == ()


@pytest.mark.skipif(not available_backends("tflite"), reason="no TFLite runtime")
def test_one_island_in_float_saves_a_net_with_uneven_channels(
    maker: Exporter, twin: bytes, mixed: bytes, layers: tuple[str, ...]
) -> None:
    expected = run("tflite-fp32", twin)
    whole = sqnr(run("tflite-int8-floatio", maker.make("tflite-int8-floatio")[0]), expected)
    assert sqnr(run(MIXED, mixed), expected) > whole + 10
    # One op alone in float does little: its neighbours still want int8 of it.
    alone = maker.make(MIXED, Settings(float_layers=layers[:1]))[0]
    assert sqnr(run(MIXED, alone), expected) < whole + 5


def test_file_is_what_its_settings_say(
    mixed: bytes, twin: bytes, layers: tuple[str, ...], maker: Exporter
) -> None:
    description = describe(MIXED, mixed, len(twin), layers)
    # Edges in float32: the first and the last layer may be among those that stay float.
    assert [t.dtype for t in (*description.inputs, *description.outputs)] == ["float32"] * 2
    assert [t.name for t in (*description.inputs, *description.outputs)] == ["x", "y"]
    assert len(mixed) < len(twin)
    assert mixed == maker.make(MIXED, Settings(float_layers=layers))[0]


def test_other_layers_in_float_than_the_settings_say_are_seen(
    mixed: bytes, layers: tuple[str, ...]
) -> None:
    with pytest.raises(TargetError, match=r"no float op writes 'y'"):
        describe(MIXED, mixed, None, [*layers, "y"])
    with pytest.raises(TargetError, match=r"float island: .*after"):
        describe(MIXED, mixed, None, layers[:1])
    with pytest.raises(TargetError, match="not smaller"):
        describe(MIXED, mixed, 128 * 1024, layers) if len(mixed) >= 128 * 1024 else describe(
            MIXED, mixed + bytes(128 * 1024), 128 * 1024, layers
        )


def test_no_other_variant_passes_for_mixed_nor_mixed_for_another(
    maker: Exporter, twin: bytes, mixed: bytes
) -> None:
    for artifact_id in ("tflite-int8", "tflite-int8-floatio", "tflite-dynamic"):
        with pytest.raises(TargetError, match="not what its name says"):
            describe(MIXED, maker.make(artifact_id)[0], None)
        with pytest.raises(TargetError, match="not what its name says"):
            describe(artifact_id, mixed, None)
    with pytest.raises(TargetError, match="no op computes in int8"):
        describe(MIXED, twin, None)
    assert lint_mixed(maker.make("tflite-int8-floatio")[0], ()) == [
        "no op computes in float: it is plain int8-floatio"
    ]


def test_first_and_last_layer_can_stay_float(maker: Exporter, twin: bytes) -> None:
    names = (*island_around(twin, "x"), *island_around(twin, "y"))
    data, stateful = maker.make(MIXED, Settings("mse", 20, names))
    assert not stateful
    assert describe(MIXED, data, len(twin), names).ops


def test_unknown_layer_is_refused_with_the_known_ones(maker: Exporter) -> None:
    with pytest.raises(TargetError, match=r"(?s)nobody.*uneven.*y"):
        maker.make(MIXED, Settings(float_layers=("nobody",)))


def test_fused_lstm_has_no_mixed_form(tmp_path: Path) -> None:
    inputs = keras.Input((6, 2), name="x")
    outputs = keras.layers.Dense(1, name="y")(keras.layers.LSTM(4)(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras", ["x"], ["y"])
    series = np.random.default_rng(0).random((20, 6, 2)).astype(np.float32)
    maker = Exporter(loaded, {"x": series}, OLDEST, tmp_path)
    with pytest.raises(TargetError, match="SEQUENCE_LSTM"):
        maker.make(MIXED, Settings(float_layers=("y",)))
