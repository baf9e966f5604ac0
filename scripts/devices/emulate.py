"""Run ``python -m runtime`` on an emulated device.

python -m scripts.devices.emulate aarch64 tflite selftest bundles/mnist_cnn
python -m scripts.devices.emulate armv7 tflite evaluate bundles/mnist_cnn --data F --json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from edgeward.runtime.console import guarded
from edgeward.runtime.errors import EdgewardError, UsageError
from scripts.devices.packages import own_package
from scripts.devices.roots import ROOTS, ready, site

__all__ = ["answer", "main", "run"]


def run(
    device: str, backend: str, *arguments: object, timeout: float = 1800
) -> subprocess.CompletedProcess[str]:
    """Run the emulated Python with our package and one interpreter.

    Args:
        device: ``aarch64`` or ``armv7``.
        backend: ``tflite``; on aarch64 also ``litert`` or ``onnx``. Only this one is there.
        arguments: What follows ``python``. Paths are the host's.
        timeout: Seconds.

    Raises:
        UsageError: There is no such device or backend.
        EdgewardError: The device cannot be built.
    """
    if device not in ROOTS or backend not in ROOTS[device].runtimes:
        raise UsageError(
            "There is no such emulated device.",
            received=f"{device} {backend}",
            expected=[f"{name} {b}" for name, root in ROOTS.items() for b in root.runtimes],
        )
    root, folder, qemu = ready(device)
    paths = [own_package() / "site", *site(folder, backend)]
    variables = root.environment(folder, paths) | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [*root.command(folder, qemu), *map(str, arguments)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=timeout)


def answer(device: str, backend: str, verb: str, *arguments: object) -> dict[str, Any]:
    """Return what ``python -m runtime VERB ... --json`` prints on the device.

    Raises:
        EdgewardError: It prints no JSON; the message holds its own.
    """
    done = run(device, backend, "-m", "runtime", verb, *arguments, "--json")
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise EdgewardError(
            f"python -m runtime {verb} gives no answer on {device}.",
            received=f"exit code {done.returncode}: {done.stderr.strip()[-1000:]}",
        ) from None
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run it and return the exit code of the device."""
    backends = sorted({backend for root in ROOTS.values() for backend in root.runtimes})
    parser = argparse.ArgumentParser(
        prog="python -m scripts.devices.emulate",
        description="Run python -m runtime on an emulated device, set up where it is not there.",
        epilog="example: python -m scripts.devices.emulate armv7 tflite selftest bundles/mnist_cnn",
    )
    parser.add_argument("device", choices=list(ROOTS))
    parser.add_argument("backend", choices=backends, help="the only interpreter that is there")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="VERB BUNDLE [OPTION...]")
    options = parser.parse_args(argv)
    done = run(options.device, options.backend, "-m", "runtime", *options.words)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(guarded("emulate", main))
