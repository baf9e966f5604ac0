"""The main job on real MNIST: train, convert, evaluate through the runtime, predict some digits.

Every number in the table at the end is computed here, on all test images, by `python -m runtime`.
Runs again from scratch each time; `demo-output/` holds what it made.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from edgeward.runtime.backends import available_backends
from edgeward.runtime.samples import load_samples

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "demo-output"
RUN = OUTPUT / "runs" / "mnist_cnn" / "001"
BUNDLE = OUTPUT / "bundles" / "mnist_cnn"
LEFT = ("model", "runtime")
RIGHT = ("test images", "accuracy", "drop", "within", "bytes", "of float32")


def show(arguments: tuple[object, ...]) -> list[str]:
    """Print a command as a user would type it, and return it."""
    words = [str(a.relative_to(ROOT)) if isinstance(a, Path) else str(a) for a in arguments]
    print(f"\n$ python -m {' '.join(words)}", flush=True)
    return [sys.executable, "-m", *words]


def stage(*arguments: object) -> dict[str, Any]:
    """Run one of the three programs with --json, its progress visible, and return its answer."""
    done = subprocess.run([*show(arguments), "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def evaluate(report: dict[str, Any]) -> Table:
    """Evaluate each artifact of the bundle in each runtime of this machine."""
    artifacts = {artifact["id"]: artifact for artifact in report["artifacts"]}
    reference = report["reproductions"]["digit"]
    table = Table(title="mnist_cnn: float against int8, on the runtimes of a device")
    for column in LEFT:
        table.add_column(column)
    for column in RIGHT:
        table.add_column(column, justify="right")
    accuracy = f"{100 * reference['measured']:.2f} %"
    table.add_row("Keras float32", "tensorflow", f"{reference['samples']:,}", accuracy)
    for name, artifact in artifacts.items():
        format_ = name.partition("-")[0]
        for backend in available_backends(format_):
            options = ("--artifact", name, "--backend", backend)
            seen = stage("runtime", "evaluate", BUNDLE, "--data", RUN / "test.npz", *options)
            value = seen["metrics"]["digit"]["accuracy"]
            (drift,) = artifact["drifts"][seen["runtime"]]
            table.add_row(
                name,
                seen["runtime"],
                f"{seen['samples']:,}",
                f"{100 * value:.2f} %",
                f"{100 * (reference['measured'] - value):+.2f}",
                f"{100 * drift['upper_bound']:.3f}",
                f"{artifact['size']:,}",
                f"{artifact['size'] / artifacts[f'{format_}-fp32']['size']:.3f}",
            )
    return table


def predict_some() -> None:
    """Predict a few test digits from PNG files, as a user would."""
    test = load_samples(RUN / "test.npz")
    folder = OUTPUT / "digits"
    folder.mkdir()
    files = []
    for i in np.linspace(0, len(test) - 1, 6).astype(int):
        files.append(folder / f"{i:05d}-is-{int(test.targets['digit'][i])}.png")
        Image.fromarray(test.inputs["image"][i, ..., 0]).save(files[-1])
    subprocess.run(show(("runtime", "predict", BUNDLE, *files)), cwd=ROOT, check=True)


def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    trained = stage("train", "mnist_cnn", "--out", OUTPUT / "runs")
    report = stage("convert", RUN, "--int8", "--out", OUTPUT / "bundles")
    stage("runtime", "verify", BUNDLE)
    table = evaluate(report)
    predict_some()
    console = Console() if sys.stdout.isatty() else Console(width=110)
    console.print()
    console.print(table)
    dataset = trained["dataset"]
    print(f"{dataset['name']} from: {dataset['source']}")
    print("drop, and within (its 95 % upper bound), in percentage points against the float model")
    print(f"report: {BUNDLE.relative_to(ROOT)}/report.html    {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
