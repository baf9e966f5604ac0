"""What repair tries, in order of cost. Each rung is a list of attempts for one artifact."""

from __future__ import annotations

from collections.abc import Sequence

from edgeward.convert.settings import DEFAULT, METHODS, Settings
from edgeward.convert.variants import INT8, INT8_FLOATIO, INT16X8
from edgeward.convert.worker.job import Attempt

__all__ = [
    "calibration_rung",
    "fallback_rung",
    "loss_rank",
    "repairable_variant",
    "stands_for",
    "tuning_rung",
]

# What loses most first, as a rule.
_ORDER = ("int8", "int8-floatio", "int8-mixed", "int16x8", "dynamic", "fp16")


def repairable_variant(variant: str, *, fallback: bool) -> bool:
    """Tell whether there is anything to try.

    Args:
        variant: Variant id.
        fallback: Whether int8 may be left.
    """
    stays = variant in (INT8.id, INT8_FLOATIO.id)
    return stays or (fallback and variant in (INT16X8.id, "dynamic"))


def calibration_rung(artifact_id: str, used: int, available: int) -> list[Attempt]:
    """Return what stays int8 and needs no training: amount, method, granularity of the ranges.

    Args:
        artifact_id: The artifact that missed its budget.
        used: Calibration samples that it was made with.
        available: Calibration samples that there are.
    """
    if artifact_id.partition("-")[2] not in (INT8.id, INT8_FLOATIO.id):
        return []
    # Channels of unlike size share the steps of their tensor; after this they are alike. No other
    # method gains as much where it applies.
    tries = [Settings(samples=used, equalise=True)]
    tries += [Settings(samples=available)] if available > used else []
    tries += [Settings(method, used) for method in METHODS[1:]]
    tries += [Settings("mse", used, equalise=True)]
    return [_attempt(artifact_id, one, "calibration", i) for i, one in enumerate(tries)]


def tuning_rung(artifact_id: str, used: int, best: Settings) -> list[Attempt]:
    """Return what stays int8 and fine-tunes the weights.

    Args:
        artifact_id: The artifact that missed its budget.
        used: Calibration samples that it was made with.
        best: The settings that came nearest to the budget so far.
    """
    if artifact_id.partition("-")[2] not in (INT8.id, INT8_FLOATIO.id):
        return []
    # A method that suits the model suits the tuned one. An equalised one is tuned as it is, and
    # all attempts are made from one tuning, which is what takes time.
    tries = dict.fromkeys(
        Settings(method, used, equalise=best.equalise) for method in (best.method, "mse")
    )
    return [_attempt(artifact_id, one, "tuned", i, tuned=True) for i, one in enumerate(tries)]


def fallback_rung(
    artifact_id: str,
    used: int,
    islands: Sequence[Sequence[str]],
    have: Sequence[str],
) -> list[Attempt]:
    """Return what leaves int8.

    Args:
        artifact_id: The artifact that missed its budget.
        used: Calibration samples that it was made with.
        islands: What stays in float in the mixed artifact, one tuple of tensors for each try.
        have: Artifacts that are there already.
    """
    format_ = artifact_id.partition("-")[0]
    found = [
        _attempt(
            "tflite-int8-mixed",
            Settings(samples=used, float_layers=tuple(island)),
            f"{format_}-mixed",
            i,
        )
        for i, island in enumerate(islands)
        if stands_for(artifact_id, "tflite-int8-mixed")
    ]
    others = {
        "tflite-int16x8": Settings(samples=used),
        "tflite-dynamic": DEFAULT,
        "tflite-fp16": DEFAULT,
        "onnx-dynamic": DEFAULT,
        "onnx-fp16": DEFAULT,
    }
    found += [
        _attempt(one, settings, f"{format_}-fallback", i)
        for i, (one, settings) in enumerate(others.items())
        if one not in have and stands_for(artifact_id, one)
    ]
    return found


def loss_rank(artifact_id: str) -> int:
    """Return the place of an artifact in the order of what loses most, the worst first."""
    return _ORDER.index(artifact_id.partition("-")[2])


def stands_for(artifact_id: str, other: str) -> bool:
    """Tell whether another artifact may stand for one that failed.

    Both have one format, and what loses more than the artifact that failed is no way out of it.

    Args:
        artifact_id: The artifact that failed.
        other: Id of the other one.
    """
    format_, _, variant = artifact_id.partition("-")
    other_format, _, other_variant = other.partition("-")
    return (
        format_ == other_format
        and other_variant in _ORDER
        and _ORDER.index(other_variant) > _ORDER.index(variant)
    )


def _attempt(
    artifact_id: str, settings: Settings, rung: str, index: int, *, tuned: bool = False
) -> Attempt:
    name = f"{artifact_id}.{rung}.{index}"
    return Attempt(name, artifact_id, settings, tuned, number=index + 1)
