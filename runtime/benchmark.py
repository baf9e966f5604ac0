"""How long one sample takes on this machine, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeward.runtime.errors import InvalidBundleError, UsageError
from edgeward.runtime.predictor import Predictor

__all__ = ["Timing", "benchmark", "time_calls"]


@dataclass(frozen=True)
class Timing:
    """Latency of one artifact, in microseconds.

    Attributes:
        artifact: Artifact id.
        runtime: Runtime and version.
        invoke_us: Median of the bare interpreter, input tensors ready.
        predict_us: Median of ``Predictor.predict``: preprocessing and decoding included.
        p90_us: 90th percentile of ``predict_us``.
        runs: Number of timed calls.
    """

    artifact: str
    runtime: str
    invoke_us: float
    predict_us: float
    p90_us: float
    runs: int


def benchmark(predictor: Predictor, *, seconds: float = 1.0) -> Timing:
    """Time a predictor on the golden inputs for about ``seconds`` each way, after a warm-up.

    Raises:
        UsageError: ``seconds`` is not a time.
        InvalidBundleError: The bundle holds no golden vectors.
    """
    if not 0 < seconds <= 3600:
        raise UsageError("No time to measure in.", received=seconds, expected="0 < seconds <= 3600")
    samples = predictor.bundle.golden().inputs
    if not samples:
        raise InvalidBundleError(
            "The bundle holds no golden vectors, so there is no input to time."
        )
    runner = predictor.runner
    tensors = [runner.tensors(sample) for sample in samples]
    fewest = len(samples)
    invoke = time_calls([partial(runner.backend.run, t) for t in tensors], seconds, fewest=fewest)
    predict = time_calls([partial(predictor.predict, s) for s in samples], seconds, fewest=fewest)
    return Timing(
        artifact=runner.artifact.id,
        runtime=f"{runner.backend.runtime} {runner.backend.version}",
        invoke_us=float(np.median(invoke)),
        predict_us=float(np.median(predict)),
        p90_us=float(np.quantile(predict, 0.9)),
        runs=len(predict),
    )


def time_calls(
    calls: Sequence[Callable[[], object]], seconds: float, *, fewest: int
) -> list[float]:
    """Time calls, one after the other and again from the first, until the time is over.

    Args:
        calls: What to time, at least one.
        seconds: How long, about.
        fewest: How many calls to time at least; so many are made before, because the first ones
            allocate.

    Returns:
        Microseconds of each call.
    """
    for call in calls[:fewest]:
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < fewest or time.perf_counter() < end:
        call = calls[len(times) % len(calls)]
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1000)
    return times
