"""Samples to fine-tune on, without targets: checked before any work, and none that judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from convert.leakage import sample_digests
from convert.source import Source
from convert.usable import check_samples
from runtime.errors import InvalidDataError
from runtime.samples import Samples, load_samples

__all__ = ["MIN_SAMPLES", "open_unlabelled"]

# Fewer cannot be split into those that teach and those that tell when to stop.
MIN_SAMPLES = 20
_FIX = "--distil FILE with raw samples of the training split, as for --calibration"


def open_unlabelled(path: Path, source: Source) -> tuple[Samples, list[str]]:
    """Load the raw samples of ``--distil``; what they have of targets is left out.

    Args:
        path: The ``.npz``.
        source: The model, whose test and validation samples are left out as well: a model that
            learned its own answers to them would look better there than it is.

    Returns:
        The samples, and what to tell.

    Raises:
        InvalidDataError: They cannot be read, do not fit the model, or are too few.
    """
    loaded = Samples(load_samples(path).inputs)
    try:
        samples = loaded.named(list(source.inputs), [])
    except InvalidDataError as error:
        raise InvalidDataError(
            f"{path.name} cannot be fine-tuned on: {error.message}",
            received=error.received,
            expected=error.expected,
            fix=_FIX,
        ) from None
    check_samples(source, samples, f"samples to fine-tune on ({path.name})", fix=_FIX)
    judging = set(sample_digests(source.test)) if source.test.targets else set()
    file = source.validation_file
    validation = source.validation() if file is not None and file.exists() else None
    judging |= set() if validation is None else set(sample_digests(validation))
    kept = [i for i, digest in enumerate(sample_digests(samples)) if digest not in judging]
    leaked = len(samples) - len(kept)
    if len(kept) < MIN_SAMPLES:
        raise InvalidDataError(
            f"{path.name} has too few samples to fine-tune on.",
            received=f"{len(kept):,}" + (f" beside {leaked:,} that judge" if leaked else ""),
            expected=f"{MIN_SAMPLES} or more; hundreds are better",
            fix="--distil FILE with unlabelled samples of the training split",
        )
    note = (
        f"{leaked:,} of the {len(samples):,} samples of {path.name} are test or validation samples "
        "too; the model is not fine-tuned on them"
    )
    return samples.take(np.array(kept)), [note] if leaked else []
