"""How far an artifact is from the float model where nobody knows the right answers.

Agreement is no accuracy: a float model that is wrong, or is fed the wrong way, agrees perfectly
with its copy. So it gives no verdict but *unverified*, and no number of the manifest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.artifact import Drift
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.specs import OutputSpec
from edgeward.runtime.tasks import METRIC, decide

__all__ = ["MAX_SQNR", "Agreement", "decibels", "measure_agreement"]

# Equal outputs have an infinite ratio, and noise on a signal of zero a ratio of minus infinity;
# JSON has neither. The last bit of one float32 value among a billion is at about 240 dB.
MAX_SQNR = 300.0


@dataclass(frozen=True)
class Agreement:
    """Agreement of one output of one artifact with the float model, in one runtime.

    Attributes:
        output: Name of the output.
        task: Its task.
        samples: Number of samples.
        sqnr: Signal to quantisation noise ratio in dB, within +-MAX_SQNR; MAX_SQNR is equal.
        largest_difference: Largest absolute difference of a value, in the output's unit.
        decisions: Share of samples with the same decision, 0..1; None without decisions.
        verdict: ``unverified``, always.
    """

    output: str
    task: str
    samples: int
    sqnr: float
    largest_difference: float
    decisions: float | None
    verdict: str = "unverified"

    def to_drift(self, budget: float, runtime: str) -> Drift:
        """Return the manifest's entry: nothing was measured that it has a number for.

        Args:
            budget: Drift that would be allowed.
            runtime: Where the artifact ran, e.g. ``ai-edge-litert 2.3.0``.
        """
        return Drift(
            output=self.output,
            task=self.task,
            metric=METRIC[self.task],
            reference=None,
            value=None,
            drop=None,
            upper_bound=None,
            budget=budget,
            samples=self.samples,
            verdict=self.verdict,
            runtime=runtime,
        )


def measure_agreement(
    output: str, spec: OutputSpec, reference: Floats, values: Floats
) -> Agreement:
    """Compare an artifact with the float model on samples without targets.

    Args:
        output: Name of the output.
        spec: The output.
        reference: The float model's values after postprocessing, ``[N, ...]``.
        values: The artifact's.

    Raises:
        InvalidDataError: No samples, arrays that do not fit, or values that are not finite.

    >>> spec = OutputSpec("regression")
    >>> same = np.ones((4, 1), np.float32)
    >>> measure_agreement("y", spec, same, same).sqnr
    300.0
    >>> round(measure_agreement("y", spec, same, same * np.float32(1.125)).sqnr, 2)
    18.06
    """
    if reference.shape != values.shape or len(values) == 0:
        raise InvalidDataError(
            f"The artifact's output {output!r} cannot be compared with the float model's.",
            received=list(values.shape),
            expected=f"{list(reference.shape)}, at least one sample",
        )
    for whose, array in (("float model", reference), ("artifact", values)):
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if len(bad):
            raise InvalidDataError(
                f"The {whose}'s output {output!r} for sample {bad[0]} is not finite."
            )
    signal = reference.astype(np.float64)
    noise = signal - values.astype(np.float64)
    decisions = None
    if spec.task in ("classification", "binary"):
        decisions = float(np.mean(decide(spec, reference) == decide(spec, values)))
    return Agreement(
        output=output,
        task=spec.task,
        samples=len(values),
        sqnr=_sqnr(signal, noise),
        largest_difference=float(np.abs(noise).max(initial=0.0)),
        decisions=decisions,
    )


def _sqnr(signal: Array, noise: Array) -> float:
    # Scaled first: the square of a large float32 is far from the limits, that of a small
    # subnormal one is not.
    peak = max(float(np.abs(signal).max(initial=0.0)), float(np.abs(noise).max(initial=0.0)))
    if not peak:
        return MAX_SQNR
    return decibels(float(np.square(signal / peak).sum()), float(np.square(noise / peak).sum()))


def decibels(signal: float, noise: float) -> float:
    """Return the ratio of two powers in dB, within +-MAX_SQNR; no noise is MAX_SQNR.

    Args:
        signal: Sum of the squares of the signal.
        noise: Sum of the squares of the noise; what is NaN or infinite is all noise.

    >>> decibels(1.0, 0.01), decibels(0.0, 0.0), decibels(0.0, 1.0), decibels(1.0, math.nan)
    (20.0, 300.0, -300.0, -300.0)
    """
    if noise == 0:
        return MAX_SQNR
    if not (0 < signal < math.inf and noise < math.inf):
        return -MAX_SQNR
    return min(MAX_SQNR, max(-MAX_SQNR, 10 * math.log10(signal / noise)))
