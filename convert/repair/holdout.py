"""The samples that choose between repairs: never those that judge the chosen one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeward.convert.samples.leakage import find_leakage
from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Floats
from edgeward.runtime.samples import save_samples

__all__ = ["Holdout", "hold_out"]

# Of the test samples, where there is no validation split.
_PARTS = 3


@dataclass(frozen=True)
class Holdout:
    """What repair chooses by, and what is left to judge by.

    Attributes:
        chooser: The source with the choosing samples in the place of the test split.
        judge: The source with what may judge what was chosen.
        values: Output name -> the float model's values on the samples of ``judge``.
        note: Where the choosing samples come from.
    """

    chooser: Source
    judge: Source
    values: Mapping[str, Floats]
    note: str


def hold_out(source: Source, values: Mapping[str, Floats], folder: Path) -> Holdout | None:
    """Take the validation split to choose by, or else a third of the test split.

    Validation samples that calibrate too (``find_leakage``) do not choose.

    The third is fixed by the hash of each sample: the same in every conversion, and equal samples
    are on one side together.

    Args:
        source: The source, whose test split judges.
        values: Output name -> the float model's values on it.
        folder: For the choosing samples.

    Returns:
        None where there are no targets to choose by, or hardly two samples.
    """
    file = source.validation_file
    validation = source.validation() if file is not None and file.exists() else None
    if validation is not None and file and set(source.test.targets) <= set(validation.targets):
        seen = find_leakage(source).choosing
        if seen:
            validation = validation.take(np.delete(np.arange(len(validation)), seen))
            file = folder / "holdout.npz"
            save_samples(file, validation)
        chooser = replace(source, test=validation, test_file=file)
        return Holdout(chooser, source, values, f"{len(validation):,} validation samples")
    if not source.test.targets:
        return None
    mine = np.array([_part(digest) == 0 for digest in source.test_digests])
    if mine.all() or not mine.any():
        return None
    third, rest = np.flatnonzero(mine), np.flatnonzero(~mine)
    chosen = source.test.take(third)
    file = folder / "holdout.npz"
    save_samples(file, chosen)
    return Holdout(
        chooser=replace(source, test=chosen, test_file=file),
        judge=replace(source, test=source.test.take(rest)),
        values={name: array[rest] for name, array in values.items()},
        note=f"{len(third):,} of the {len(mine):,} test samples, chosen by their hash and left "
        "out of what judges a repaired artifact; --validation FILE gives others",
    )


def _part(digest: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"repair" + digest).digest()[:8], "big") % _PARTS
