"""Raw samples that can be used: checked whole, before any work, and named where they cannot.

What is wrong with validation samples or with those to fine-tune on would show only in the attempts
of a repair, minutes later and one by one. Samples to fine-tune on need no targets, and none of them
may be one that judges.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeward.convert.settings import MIN_TUNING_SAMPLES
from edgeward.convert.source.digests import sample_digests
from edgeward.convert.source.source import Source
from edgeward.convert.source.specs import check_column
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples, load_samples
from edgeward.runtime.tasks import check_targets

__all__ = ["check_samples", "check_splits", "open_unlabelled"]


_UNLABELLED_FIX = "--distil FILE with raw samples of the training split, as for --calibration"


def check_samples(source: Source, samples: Samples, what: str, fix: str) -> None:
    """Check raw samples against the inputs of a model, and their targets against its outputs.

    Args:
        source: The model.
        samples: The samples.
        what: What they are and where they come from, for the message.
        fix: What to do about it.

    Raises:
        InvalidDataError: They cannot be used; names the input or output and the first bad sample.
    """
    part = ""
    try:
        for name, spec in source.inputs.items():
            part = f"input {name!r}"
            check_column(spec, samples.inputs[name], source.vocabularies)
        for name, targets in samples.targets.items():
            part = f"targets of {name!r}"
            check_targets(source.outputs[name], targets)
    except InvalidDataError as error:
        raise error.retold(f"The {what}, {part}, cannot be used: {error.message}", fix) from None


def check_splits(source: Source) -> None:
    """Check the test and the validation samples, which judge and choose artifacts.

    Raises:
        InvalidDataError: They cannot be used.
    """
    splits: list[tuple[str, Path | None, Samples | None]] = [
        ("test", source.test_file, source.test),
        ("validation", source.validation_file, None),
    ]
    for split, file, samples in splits:
        if file is None or not file.exists():
            continue
        loaded = source.validation() if samples is None else samples
        if loaded is not None:
            check_samples(
                source,
                loaded,
                f"{split} samples ({file.name})",
                fix=f"raw samples and targets of the {split} split, every one of them finite and "
                "as the inputs are described",
            )


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
        message = f"{path.name} cannot be fine-tuned on: {error.message}"
        raise error.retold(message, _UNLABELLED_FIX) from None
    check_samples(source, samples, f"samples to fine-tune on ({path.name})", fix=_UNLABELLED_FIX)
    judging = set(source.test_digests) if source.test.targets else set()
    file = source.validation_file
    judging |= set(source.validation_digests) if file is not None and file.exists() else set()
    kept = [i for i, digest in enumerate(sample_digests(samples)) if digest not in judging]
    leaked = len(samples) - len(kept)
    if len(kept) < MIN_TUNING_SAMPLES:
        raise InvalidDataError(
            f"{path.name} has too few samples to fine-tune on.",
            received=f"{len(kept):,}" + (f" beside {leaked:,} that judge" if leaked else ""),
            expected=f"{MIN_TUNING_SAMPLES} or more; hundreds are better",
            fix="--distil FILE with unlabelled samples of the training split",
        )
    note = (
        f"{leaked:,} of the {len(samples):,} samples of {path.name} are test or validation samples "
        "too; the model is not fine-tuned on them"
    )
    return samples.take(np.array(kept)), [note] if leaked else []
