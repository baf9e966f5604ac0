"""Which runtime each format must fit, and what that asks of the converter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convert.job import Switches
from convert.op_locations import TFLITE, LocatedOp
from convert.targets import Target, default_target, parse_target
from convert.variants import FORMATS, INT8, INT8_FLOATIO
from runtime.errors import UsageError

__all__ = ["adapt", "choose_targets", "switches_for"]

# Scales per channel of a dense layer's weights are this version (tensorflow#80736).
_PER_CHANNEL_DENSE = LocatedOp("FULLY_CONNECTED", 12, 0, "", TFLITE)


def choose_targets(text: str | None, formats: Sequence[str]) -> dict[str, Target]:
    """Return format -> the runtime that must accept its artifacts.

    Args:
        text: ``NAME==VERSION``; None, and the other format, take the oldest supported runtime.
        formats: What is made.

    Raises:
        UsageError: An unknown runtime or version, or one of a format that is not made.
    """
    targets = {format_: default_target(format_) for format_ in FORMATS}
    if text is not None:
        asked = parse_target(text)
        if asked.format not in formats:
            raise UsageError(
                f"{asked} runs {asked.format} files, and none is to be made.",
                received=f"--format {','.join(formats)}",
                fix=f"--format {asked.format}, or another --target",
            )
        targets[asked.format] = asked
    return targets


def switches_for(targets: Mapping[str, Target]) -> Switches:
    """Return what the converter has to do so that the targets hold what it makes."""
    return Switches(per_tensor_dense=targets["tflite"].table.lacks(_PER_CHANNEL_DENSE) is not None)


def adapt(ids: Sequence[str], targets: Mapping[str, Target]) -> tuple[list[str], list[str]]:
    """Return the artifacts to make for the targets, and notes on what was exchanged.

    A target that takes no integers at a model's edges gets int8 with float edges.
    """
    int8, floatio = f"tflite-{INT8.id}", f"tflite-{INT8_FLOATIO.id}"
    target = targets["tflite"]
    if int8 not in ids or "int-edge" not in target.demands:
        return list(ids), []
    chosen = dict.fromkeys(floatio if artifact_id == int8 else artifact_id for artifact_id in ids)
    return list(chosen), [f"{floatio} instead of {int8}: {target} takes no integers at the edges"]
