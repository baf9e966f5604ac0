"""Of several runtimes, the one in which an artifact is worst: this one judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convert.drift.metrics import OutputDrift

__all__ = ["SEVERITY", "worst_of"]

SEVERITY = ("pass", "unverified", "inconclusive", "refused")


def worst_of(drifts: Mapping[str, Sequence[OutputDrift]]) -> list[OutputDrift]:
    """Return the drift of each output in the runtime in which it is worst.

    Args:
        drifts: Runtime -> drift there of each output.
    """
    every = [drift for of_runtime in drifts.values() for drift in of_runtime]
    return [
        max(
            (drift for drift in every if drift.output == output),
            key=lambda drift: (SEVERITY.index(drift.verdict), drift.upper_bound),
        )
        for output in dict.fromkeys(drift.output for drift in every)
    ]
