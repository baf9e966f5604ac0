"""The parity matrix on other processors, where this is a checkout that can emulate them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import edgeward
from edgeward.convert.bundle.write import write_bundle
from edgeward.convert.measure.records import Parity, ParityRow
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.samples import Samples, save_samples

__all__ = ["device_rows"]

_ROOT = Path(edgeward.__file__).resolve().parents[1]

_SAMPLES = 100

# This machine's own runtimes are in the matrix already.
_HERE = "host"

_MICRO = "tflite-micro"

# Proves files, and no answers.
_PACKAGE = "Android package"


def device_rows(
    files: Mapping[str, bytes],
    samples: Samples,
    progress: Callable[[str], None],
    *,
    timeout: float | None = None,
) -> Parity:
    """Run a bundle on the emulated devices of ``scripts/devices`` (docs/devices.md).

    Args:
        files: File name -> content of the bundle.
        samples: Raw test samples.
        progress: Called with one line per step.
        timeout: Seconds for all devices, setting them up included; None is no limit.

    Returns:
        A row for each artifact and device, or why there is none.
    """
    if not (_ROOT / "scripts" / "devices" / "run.py").is_file():
        return Parity(
            [], "parity on other processors needs a checkout of the repository: make devices"
        )
    progress(f"parity on emulated devices, {_SAMPLES} samples (the first time they are set up)")
    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        bundle, data = Path(name) / "bundle", Path(name) / "samples.npz"
        write_bundle(bundle, dict(files))
        outputs = Bundle.open(bundle).manifest.outputs.values()
        decides = any(one.task in ("classification", "binary") for one in outputs)
        save_samples(data, samples.take(range(min(_SAMPLES, len(samples)))))
        answer, log = _run(
            [
                *(sys.executable, "-m", "scripts.devices.run", str(bundle)),
                *("--data", str(data), "--samples", str(_SAMPLES), "--seconds", "10"),
                *("--no-damage", "--json"),
            ],
            timeout,
        )
    try:
        found: list[dict[str, Any]] = json.loads(answer)["rows"]
    except (KeyError, ValueError):
        # A network that was down may be up again, and an emulator has more time.
        return Parity([], f"no parity on other processors: {log.strip()[-500:]}", again=True)
    return Parity([_row(one, decides) for one in found if _elsewhere(one["device"])])


def _run(command: list[str], timeout: float | None) -> tuple[str, str]:
    """Return what a command prints, and its log; of one that ran out of time only that it did."""
    process = subprocess.Popen(
        command,
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A group of its own: the emulators that it starts hold its pipes, and must end with it.
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        return "", f"they ran out of time, {timeout:g} s: --timeout SECONDS gives them more"
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _elsewhere(device: str) -> bool:
    return device != _PACKAGE and (not device.startswith(_HERE) or _MICRO in device)


def _row(one: Mapping[str, Any], decides: bool) -> ParityRow:
    ran = one["values"] > 0
    return ParityRow(
        artifact=one["artifact"],
        runtime=f"{one['device']} ({one['runtime']})",
        kernels=f"against {one['compared_with']}",
        samples=one["samples"],
        max_lsb=one["lsb"] if ran else None,
        differing=one["differing"] / one["values"] if ran else 0.0,
        flips=one["flips"] if ran and decides else None,
        detail=one["reason"],
    )
