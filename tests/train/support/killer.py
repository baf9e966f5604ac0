"""Kill trainings at random moments and resume them: run as a process of its own by the slow test.

    python killer.py FOLDER RESUMES SECONDS SEED

TensorFlow is imported once and the trainings are forked from there, which saves its import time
for each. What a forked process does after that is what ``python -m train`` does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import keras  # noqa: F401
import tensorflow as tf  # noqa: F401

from edgeward.train.cli import main
from edgeward.train.datasets import mnist
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.recipes import mnist_cnn

TRAIN = [
    *("mnist_cnn", "--epochs", "5", "--save-every", "2", "--batch-size", "50"),
    *("--set", "filters=2", "--set", "units=8", "--patience", "9"),
]


def load(path: Path | None, hyper: object, say: object) -> Dataset:
    """Load a few hundred digits."""
    whole = mnist.load(mnist.SUBSET, lambda line: None)
    return Dataset(
        whole.name,
        whole.source,
        whole.sha256,
        whole.train.take(range(1000)),
        whole.validation.take(range(100)),
        whole.test.take(range(100)),
    )


def begin(*arguments: str) -> int:
    """Start a training in a process of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    object.__setattr__(mnist_cnn.RECIPE, "load", load)
    os._exit(main([*TRAIN, *arguments]))


def end(child: int) -> int:
    """Wait; returns the exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def has_state(folder: Path) -> bool:
    return any(folder.glob(".*.partial/state.npz"))


def work(out: Path, resumes: int, seconds: float, seed: int) -> dict[str, object]:
    """Kill and resume; each kill comes at a random moment.

    A training that was not killed in time finishes, and the next one starts.
    """
    rng = random.Random(seed)
    folder = out / "mnist_cnn"
    killed, codes = 0, []
    done = 0
    while True:
        resume = has_state(folder)
        child = begin("--out", str(out), *(["--resume"] if resume else []))
        done += resume
        deadline = time.monotonic() + 60
        while not has_state(folder) and time.monotonic() < deadline:
            time.sleep(0.01)  # before there is one, there is nothing to resume
        if done < resumes:
            time.sleep(rng.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        code = end(child)
        if code == -signal.SIGKILL:
            killed += 1
        else:
            codes.append(code)
        if done >= resumes and not has_state(folder):
            break
    return {"killed": killed, "resumed": done, "codes": codes}


if __name__ == "__main__":
    where, resumes, seconds, seed = sys.argv[1:]
    began = time.monotonic()
    told = work(Path(where), int(resumes), float(seconds), int(seed))
    print(json.dumps({**told, "seconds": time.monotonic() - began}))
