"""The networks that people bring: Keras' applications to int8, without Flex ops and with a signal.

Their trained weights are not to be had here. Seeded ones with batch-norm statistics fitted to real
photographs give every layer the ranges of a real net; what is measured is how much of the float
model's logits is left (SQNR), on other crops than were calibrated on.

Of Keras' applications only the smallest is here: with seeded weights the deeper ones keep 9 to 14
dB, because in a random net of batch normalisation noise of any kind grows from layer to layer (Yang
et al. 2019, arXiv:1902.08129).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images
from support import RunPython

SIDE = 96
# Seen: 15.4; the integer kernels of another processor may round otherwise.
FLOOR_DB = 14.0
ONE_TO_ONE = {"scale": 1.0, "offset": 0.0}
# Name -> what lies between pixels and the network; some have it inside.
# Name -> what lies between pixels and the network; this one has its scaling inside.
NETWORKS: dict[str, dict[str, float]] = {"MobileNetV3Small": ONE_TO_ONE}


def crops(count: int, seed: int) -> np.ndarray:
    """Random parts of two photographs, uint8 [count, SIDE, SIDE, 3]."""
    images = load_sample_images().images
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        image = images[index % len(images)]
        top, left = (int(rng.integers(0, size - SIDE)) for size in (image.shape[0], image.shape[1]))
        found.append(image[top : top + SIDE, left : left + SIDE])
    return np.stack(found)


def build(name: str, affine: dict[str, float], images: np.ndarray) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(SIDE, SIDE, 3), classes=100, classifier_activation=None
    )
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.3
    pixels = images.astype(np.float32) * affine["scale"] + affine["offset"]
    for first in (*range(0, len(pixels), 32), *range(0, len(pixels), 32)):
        model(pixels[first : first + 32], training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model


def convert(run_python: RunPython) -> dict[str, Any]:
    """Return the artifacts by id; those that a gate refuses too, which is not the subject here."""
    done = run_python(
        *("-m", "convert", "net.keras", "--int8", "--json", "--format", "tflite"),
        *("--preprocessing", "p.json", "--calibration", "c.npz", "--test", "t.npz"),
    )
    assert done.returncode in (0, 3), done.stderr
    return {artifact["id"]: artifact for artifact in json.loads(done.stdout)["artifacts"]}


def worst_sqnr(artifact: dict[str, Any]) -> float:
    return min(agreements[0]["sqnr"] for agreements in artifact["agreements"].values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_application_keeps_its_logits_in_int8(
    run_python: RunPython, tmp_path: Path, name: str
) -> None:
    calibration = crops(100, 1)
    model = build(name, NETWORKS[name], crops(96, 3))
    model.save(tmp_path / "net.keras")
    spec = {"kind": "image", "dtype": "uint8", "shape": [SIDE, SIDE, 3]}
    steps = [{"step": "affine", **NETWORKS[name]}]
    (tmp_path / "p.json").write_text(
        json.dumps({"inputs": {"image": {**spec, "preprocessing": steps}}})
    )
    tests = crops(60, 2)
    pixels = tests.astype(np.float32) * NETWORKS[name]["scale"] + NETWORKS[name]["offset"]
    # The float model's own logits are the targets: how far from them is the question.
    targets = model.predict(pixels, verbose=0)
    np.savez(tmp_path / "c.npz", x=calibration)
    np.savez(tmp_path / "t.npz", x=tests, y=targets)
    artifacts = convert(run_python)
    seen = worst_sqnr(artifacts["tflite-int8"])
    print(f"{name}: {artifacts['tflite-int8']['size']:,} bytes, {seen:.1f} dB")
    assert seen >= FLOOR_DB
    assert artifacts["tflite-int8"]["size"] < artifacts["tflite-fp32"]["size"] / 3
    # The twin: calibrated on all but black images, the same check fails.
    np.savez(tmp_path / "c.npz", x=calibration // 64)
    damaged = worst_sqnr(convert(run_python)["tflite-int8"])
    print(f"damaged: {damaged:.1f} dB")
    assert damaged < FLOOR_DB - 3
