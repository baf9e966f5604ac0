"""How long one sample takes in an interpreter, on the machine that converts."""

from __future__ import annotations

import time

import numpy as np

from runtime.predictor import Runner
from runtime.samples import Samples

__all__ = ["latency_us"]

# Enough for a median that a report can show; ``python -m runtime bench`` takes its time.
_SECONDS = 0.1
_FEWEST = 3


def latency_us(runner: Runner, samples: Samples) -> float:
    """Return the median time of one invocation, input tensors ready, in microseconds.

    Args:
        runner: The artifact in its interpreter, batch 1.
        samples: Raw inputs, at least one; they are used in turns.
    """
    tensors = [
        runner.tensors({name: column[i] for name, column in samples.inputs.items()})
        for i in range(min(8, len(samples)))
    ]
    runner.backend.run(tensors[0])  # the first one allocates
    times: list[int] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < _FEWEST or time.perf_counter() < end:
        start = time.perf_counter_ns()
        runner.backend.run(tensors[len(times) % len(tensors)])
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000
