"""What repair tries, in order of cost. Each rung is a list of attempts for one artifact."""

from __future__ import annotations

from collections.abc import Sequence

from edgeward.convert.formats import FORMATS
from edgeward.convert.settings import DEFAULT, METHODS, Settings
from edgeward.convert.variants import (
    DYNAMIC,
    FLOAT16,
    INT8,
    INT8_FLOATIO,
    INT8_MIXED,
    INT16X8,
    ArtifactId,
    artifact_ids,
)
from edgeward.convert.worker.job import Attempt

__all__ = [
    "calibration_rung",
    "fallback_rung",
    "loss_rank",
    "repairable_variant",
    "stands_for",
    "tuning_rung",
]

# What loses most first, as a rule. A variant that is not here is neither repaired nor a way out.
_ORDER = (INT8, INT8_FLOATIO, INT8_MIXED, INT16X8, DYNAMIC, FLOAT16)

# What takes the place of int8, beside the mixed artifact.
_FALLBACKS = (INT16X8, DYNAMIC, FLOAT16)


def repairable_variant(variant: str, *, fallback: bool) -> bool:
    """Tell whether there is anything to try.

    Args:
        variant: Variant id.
        fallback: Whether int8 may be left.
    """
    stays = variant in (INT8.id, INT8_FLOATIO.id)
    return stays or (fallback and variant in (INT16X8.id, DYNAMIC.id))


def calibration_rung(artifact_id: str, used: int, available: int) -> list[Attempt]:
    """Return what stays int8 and needs no training: amount, method, granularity of the ranges.

    Args:
        artifact_id: The artifact that missed its budget.
        used: Calibration samples that it was made with.
        available: Calibration samples that there are.
    """
    if ArtifactId.parse(artifact_id).variant not in (INT8, INT8_FLOATIO):
        return []
    # Channels of unlike size share the steps of their tensor; after this they are alike. No other
    # method gains as much where it applies.
    tries = [Settings(samples=used, equalise=True)]
    tries += [Settings(samples=available)] if available > used else []
    tries += [Settings(method, used) for method in METHODS[1:]]
    tries += [Settings("mse", used, equalise=True)]
    return [_attempt(artifact_id, how, "calibration", i) for i, how in enumerate(tries)]


def tuning_rung(artifact_id: str, used: int, best: Settings) -> list[Attempt]:
    """Return what stays int8 and fine-tunes the weights.

    Args:
        artifact_id: The artifact that missed its budget.
        used: Calibration samples that it was made with.
        best: The settings that came nearest to the budget so far.
    """
    if ArtifactId.parse(artifact_id).variant not in (INT8, INT8_FLOATIO):
        return []
    # A method that suits the model suits the tuned one. An equalised one is tuned as it is, and
    # all attempts are made from one tuning, which is what takes time.
    tries = dict.fromkeys(
        Settings(method, used, equalise=best.equalise) for method in (best.method, "mse")
    )
    return [_attempt(artifact_id, how, "tuned", i, tuned=True) for i, how in enumerate(tries)]


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
    format_ = ArtifactId.parse(artifact_id).format
    mixed = [artifact for artifact in artifact_ids() if artifact.variant is INT8_MIXED]
    attempts = [
        _attempt(
            str(other),
            Settings(samples=used, float_layers=tuple(island)),
            f"{format_.name}-mixed",
            i,
        )
        for other in mixed
        for i, island in enumerate(islands)
        if stands_for(artifact_id, str(other))
    ]
    # Numbered over all formats, and in the order of what loses most.
    others = [
        ArtifactId(other, variant)
        for other in FORMATS.values()
        for variant in _FALLBACKS
        if other.has(variant.id)
    ]
    attempts += [
        _attempt(
            str(other),
            Settings(samples=used) if other.variant.calibrated else DEFAULT,
            f"{format_.name}-fallback",
            i,
        )
        for i, other in enumerate(others)
        if str(other) not in have and stands_for(artifact_id, str(other))
    ]
    return attempts


def loss_rank(artifact_id: str) -> int:
    """Return the place of an artifact in the order of what loses most, the worst first."""
    return _ORDER.index(ArtifactId.parse(artifact_id).variant)


def stands_for(artifact_id: str, other: str) -> bool:
    """Tell whether another artifact may stand for one that failed.

    Both have one format, and what loses more than the artifact that failed is no way out of it.

    Args:
        artifact_id: The artifact that failed.
        other: Id of the other one.
    """
    failed, artifact = ArtifactId.parse(artifact_id), ArtifactId.parse(other)
    return (
        failed.format == artifact.format
        and artifact.variant in _ORDER
        and _ORDER.index(artifact.variant) > _ORDER.index(failed.variant)
    )


def _attempt(
    artifact_id: str, settings: Settings, rung: str, index: int, *, tuned: bool = False
) -> Attempt:
    name = f"{artifact_id}.{rung}.{index}"
    return Attempt(name, artifact_id, settings, tuned, number=index + 1)
