"""Several devices and several workers train what one device trains: processes of their own."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeward.train.datasets import mnist

ARGUMENTS = ["mnist_cnn", "--data", str(mnist.SUBSET), "--epochs", "1", "--device", "cpu"]
TWO = """
import sys
import tensorflow as tf
# Two logical devices have to be made before TensorFlow starts.
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""
MIRRORED = TWO + "from edgeward.train.cli import main\nsys.exit(main(sys.argv[1:]))\n"

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Start:
    def begin(log: str, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        with (tmp_path / log).open("ab") as file:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=tmp_path,
                env={**environment, **variables},
                stderr=file,
                stdout=file,
            )

    return begin


def cluster() -> list[str]:
    """TF_CONFIG of two workers on free ports."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]
    return [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]


def told_weights(log: Path) -> str:
    found = re.findall(r"^Weights: sha256 ([0-9a-f]{64})\.$", log.read_text(), re.MULTILINE)
    assert len(found) == 1, log.read_text()
    return str(found[0])


def weights_of(run: Path) -> list[np.ndarray]:
    return keras.models.load_model(run / "model.keras", compile=False).get_weights()


def largest_difference(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_mirrored_devices_and_workers_train_what_one_device_trains(
    start: Start, tmp_path: Path
) -> None:
    assert start("one.log", "-m", "train", *ARGUMENTS, "--out", "one").wait(120) == 0
    assert start("two.log", "-c", MIRRORED, *ARGUMENTS, "--out", "mirrored").wait(120) == 0
    assert "2 mirrored devices" in (tmp_path / "two.log").read_text()
    workers = [
        start(f"{index}.log", "-m", "train", *ARGUMENTS, "--out", "cluster", TF_CONFIG=config)
        for index, config in enumerate(cluster())
    ]
    assert [process.wait(120) for process in workers] == [0, 0]
    runs = sorted((tmp_path / "cluster" / "mnist_cnn").iterdir())
    assert [run.name for run in runs] == ["001"], "only the chief writes"
    # Bit for bit between the workers, and between them and the mirrored devices.
    same = {told_weights(tmp_path / name) for name in ("0.log", "1.log", "two.log")}
    assert len(same) == 1
    one = weights_of(tmp_path / "one" / "mnist_cnn" / "001")
    for other in ("mirrored", "cluster"):
        weights = weights_of(tmp_path / other / "mnist_cnn" / "001")
        # The order of a sum differs, nothing else: weights are of order 0.1.
        assert largest_difference(one, weights) < 1e-4


@pytest.mark.slow
def test_workers_that_were_started_differently_refuse_to_train(
    start: Start, tmp_path: Path
) -> None:
    workers = [
        start(f"{index}.log", "-m", "train", *ARGUMENTS, "--seed", str(index), TF_CONFIG=config)
        for index, config in enumerate(cluster())
    ]
    assert [process.wait(120) for process in workers] == [2, 2]
    assert "do not train the same" in (tmp_path / "0.log").read_text()
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.slow
def test_killed_cluster_is_resumed_by_both_workers(start: Start, tmp_path: Path) -> None:
    many = [*ARGUMENTS, "--save-every", "10"]
    die = (
        "import os, signal, sys\nfrom edgeward.train.loop import session\n"
        "save = session.save_state\n"
        "def save_and_die(folder, state):\n    save(folder, state)\n"
        "    if state.steps == 20:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "session.save_state = save_and_die\n"
        "from edgeward.train.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    whole = [
        start(f"whole{index}.log", "-m", "train", *many, "--out", "whole", TF_CONFIG=config)
        for index, config in enumerate(cluster())
    ]
    assert [process.wait(120) for process in whole] == [0, 0]
    killed = [
        start(f"killed{index}.log", "-c", die, *many, "--out", "killed", TF_CONFIG=config)
        for index, config in enumerate(cluster())
    ]
    assert killed[0].wait(120) == -9
    killed[1].kill()  # it would wait for the chief
    killed[1].wait()
    again = [
        start(
            f"again{index}.log",
            *("-m", "train", "mnist_cnn", "--resume", "--out", "killed"),
            TF_CONFIG=config,
        )
        for index, config in enumerate(cluster())
    ]
    assert [process.wait(120) for process in again] == [0, 0]
    names = ("whole0.log", "whole1.log", "again0.log", "again1.log")
    assert len({told_weights(tmp_path / name) for name in names}) == 1


RESUMED = (
    TWO
    + """
from test_resume import Loop, PLAN, same
from edgeward.train.datasets import mnist
from edgeward.train.loop import fit
digits = mnist.load(mnist.SUBSET, lambda line: None)
# Each replica's copy of the moving averages is the same one after each epoch.
make = fit.make_average
copies = []
def checked(strategy, variables):
    average = make(strategy, variables)
    moving = [v for v in variables if "moving" in v.path]
    def look():
        return [strategy.experimental_local_results(v.value)[1].numpy() for v in moving]
    def act():
        before = look()
        average()
        copies.append((before, look(), [v.value.numpy() for v in moving]))
    return act
fit.make_average = checked
whole = Loop(digits)
weights = whole.run()
for point in whole.points[1:5]:
    assert same(Loop(digits).run(start=point), weights), point.steps
from edgeward.train.loop.devices import choose_device
for before, second, first in copies:
    assert same(second, first)
    assert not same(before, second), "the replicas saw different digits"
assert choose_device("cpu").strategy.num_replicas_in_sync == 2
print("resumed")
"""
)


@pytest.mark.slow
def test_mirrored_training_with_batch_norm_dropout_and_augmentation_resumes_to_the_same_bits(
    start: Start, tmp_path: Path, environment: dict[str, str]
) -> None:
    path = f"{Path(__file__).parent / 'unfinished'}:{environment['PYTHONPATH']}"
    code = start("log", "-c", RESUMED, PYTHONPATH=path).wait(200)
    assert (code, "resumed" in (tmp_path / "log").read_text()) == (0, True)
