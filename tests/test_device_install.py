"""The base package with one interpreter, as a device installs it: no TensorFlow, numpy < 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="tflite-runtime 2.14 has no wheel above Python 3.11"
)


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment with edgeward[tflite] from a built wheel, nothing else."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", f"{wheel}[tflite]"]
    # With a path to the sources pip would find edgeward there and install nothing.
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(install, check=True, capture_output=True, env=clean)
    return python


def runtime(python: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "runtime", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
    )


def test_device_install_reproduces_the_int8_accuracy(
    device: Path, bundle: Path, run: Path, tmp_path: Path
) -> None:
    listed = subprocess.run(
        [device, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True
    )
    installed = {entry["name"].lower(): entry["version"] for entry in json.loads(listed.stdout)}
    assert installed["tflite-runtime"] == "2.14.0"
    assert installed["numpy"].startswith("1.")
    assert not {"tensorflow", "keras", "onnxruntime", "ai-edge-litert", "scipy"} & set(installed)

    done = runtime(device, "evaluate", bundle, "--data", run / "test.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["runtime"] == "tflite-runtime 2.14.0"
    assert seen["artifact"] == "tflite-int8"
    report = json.loads((bundle / "report.json").read_text())
    (int8,) = [a for a in report["artifacts"] if a["id"] == "tflite-int8"]
    (measured,) = int8["drifts"]["tflite-runtime 2.14.0"]
    assert seen["metrics"]["digit"]["accuracy"] == measured["value"]
    litert = int8["drifts"]["ai-edge-litert 2.3.0"][0]["value"]
    assert abs(measured["value"] - litert) <= 1.5 / seen["samples"]


def test_device_install_passes_its_self_test_and_says_what_is_missing(
    device: Path, bundle: Path, tmp_path: Path
) -> None:
    done = runtime(device, "selftest", bundle, "--artifact", "tflite-int8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "exact" in done.stdout
    missing = runtime(device, "selftest", bundle, "--backend", "onnx", cwd=tmp_path)
    assert missing.returncode == 2
    assert "edgeward[onnx]" in missing.stderr


def test_wheel_holds_neither_data_nor_tests(device: Path) -> None:
    site = next((device.parents[1] / "lib").glob("python*/site-packages"))
    assert not list((site / "edgeward").rglob("*.npz"))
    assert not (site / "tests").exists()
    assert (site / "edgeward" / "py.typed").is_file()
    assert (site / "edgeward" / "runtime" / "FORMAT.md").is_file()
    assert (site / "edgeward" / "convert" / "report" / "report.html.j2").is_file()
    assert (site / "edgeward" / "convert" / "report" / "report.md.j2").is_file()
