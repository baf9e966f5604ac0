"""Training time of ``python -m train mnist_cnn`` against the textbook script, as a ratio.

The textbook script is Keras' own ``fit`` on the same network, data, batch size, number of epochs
and optimizer. Both run in processes of their own, in turns, because the speed of a shared machine
swings by a factor of two; what is compared are the seconds of the optimizer steps, without start-up
and evaluation. Run it on a machine that does nothing else:

    python benchmarks/training_loop.py [ROUNDS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
EPOCHS, BATCH = 5, 128

TEXTBOOK = f"""
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
from edgeward.train.datasets import mnist
data = mnist.load(None, lambda line: None)
x, y = (np.asarray(data.train.inputs["image"], np.float32) / 255, data.train.targets["digit"])
model = keras.Sequential([
    keras.Input((28, 28, 1)),
    keras.layers.Conv2D(32, 3, activation="relu"),
    keras.layers.MaxPooling2D(2),
    keras.layers.Flatten(),
    keras.layers.Dense(128, activation="relu"),
    keras.layers.Dense(10, activation="softmax"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
started = time.perf_counter()
model.fit(x, y, batch_size={BATCH}, epochs={EPOCHS}, verbose=0)
seconds = time.perf_counter() - started
test = np.asarray(data.test.inputs["image"], np.float32) / 255
accuracy = model.evaluate(test, data.test.targets["digit"], batch_size=1000, verbose=0)[1]
print(json.dumps({{"seconds": seconds, "accuracy": accuracy}}))
"""


def textbook(folder: Path) -> tuple[float, float]:
    """Return seconds of training and test accuracy of Keras' ``fit``."""
    done = _run([sys.executable, "-c", TEXTBOOK], folder)
    result = json.loads(done.splitlines()[-1])
    return result["seconds"], result["accuracy"]


def ours(folder: Path) -> tuple[float, float]:
    """Return the same of the recipe, as its run records it."""
    command = [sys.executable, "-m", "train", "mnist_cnn", "--json", "--out", str(folder)]
    size = ["--epochs", str(EPOCHS), "--batch-size", str(BATCH)]
    result = json.loads(_run([*command, *size], folder))
    rows = (Path(result["run"]) / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("seconds")
    seconds = sum(float(row.split(",")[column]) for row in rows[1:])
    return seconds, result["metrics"]["test"]["accuracy"]


def _run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def main() -> None:
    """Print a line per round, and the ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(1, rounds + 1):
            ((theirs, reached), (own, better)) = textbook(Path(name)), ours(Path(name))
            ratios.append(theirs / own)
            print(
                f"round {number}: textbook {theirs:.1f} s ({reached:.2%}), "
                f"edgeward {own:.1f} s ({better:.2%}), ratio {ratios[-1]:.2f}",
                flush=True,
            )
    print(
        f"textbook / edgeward: median {statistics.median(ratios):.2f}, "
        f"{min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds"
    )


if __name__ == "__main__":
    main()
