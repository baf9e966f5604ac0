"""Weights that are not the float model's, rounded: damage, and no quantisation noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from convert.drift.probe import Weight
from runtime.arrays import Array

__all__ = ["WeightError", "weight_errors"]

# Rounding errs by half a step, at the ends of the range by a little more.
_STEPS = 0.75
# Relative size of an error that is worth a word: a bias has steps so fine that one is nothing.
_SHARE = 0.005
_MOST = 3


@dataclass(frozen=True)
class WeightError:
    """One constant that differs from the float model by more than rounding.

    Attributes:
        name: Its name in both files.
        text: Which channels differ and by how much, in words.
        share: Norm of the difference over the norm of the weight, in the worst channel.
    """

    name: str
    text: str
    share: float


def weight_errors(
    weights: Mapping[str, Weight], reference: Mapping[str, Weight]
) -> dict[str, WeightError]:
    """Compare constants by name and channel by channel.

    Args:
        weights: The artifact's.
        reference: The float twin's.

    Returns:
        Name -> error, for those that differ by more than rounding.
    """
    found: dict[str, WeightError] = {}
    for name, weight in weights.items():
        float_ = reference.get(name)
        if float_ is None or float_.values.shape != weight.values.shape or not weight.values.ndim:
            continue
        difference = np.abs(weight.values - float_.values)
        beyond = _by_channel(difference > _STEPS * weight.steps, weight.axis).any(axis=1)
        size = np.linalg.norm(_by_channel(float_.values, weight.axis), axis=1)
        # A channel of zeros is as large as the others when it comes to saying how far it is off.
        size = np.maximum(size, 1e-3 * size.max(initial=0.0)) + np.finfo(np.float32).tiny
        share = np.linalg.norm(_by_channel(difference, weight.axis), axis=1) / size
        bad = np.flatnonzero(beyond & (share > _SHARE))
        if len(bad):
            what = "bias" if weight.values.ndim == 1 else "weights"
            found[name] = WeightError(name, _text(what, bad, share), float(share[bad].max()))
    return found


def _by_channel(values: Array, axis: int) -> Array:
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _text(what: str, bad: Array, share: Array) -> str:
    worst = bad[np.argsort(-share[bad], kind="stable")]
    channels = ", ".join(str(i) for i in worst[:_MOST])
    more = f" and {len(bad) - _MOST} more" if len(bad) > _MOST else ""
    whole = f"{len(bad)} of {len(share)}"
    return (
        f"{what} of channel{'s' if len(bad) > 1 else ''} {channels}{more} ({whole}) "
        f"{'differ' if what == 'weights' else 'differs'} from the float model's "
        f"by {100 * float(share[worst[0]]):.3g} %"
    )
