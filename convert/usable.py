"""Raw samples that can be used: checked whole, before any work, and named where they cannot.

What is wrong with validation samples or with those to fine-tune on would show only in the attempts
of a repair, minutes later and one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convert.source import Source
from runtime.arrays import Column
from runtime.errors import InvalidDataError
from runtime.preprocessing import check_raw, preprocess_batch
from runtime.samples import Samples
from runtime.specs import InputSpec
from runtime.tasks import check_targets

__all__ = ["check_column", "check_samples", "check_splits"]


def check_column(spec: InputSpec, column: Column, vocabularies: Mapping[str, bytes]) -> None:
    """Check one input of N raw samples against its spec.

    Args:
        spec: The input.
        column: The samples of it.
        vocabularies: Content of the vocabulary files that the steps name.

    Raises:
        InvalidDataError: A sample does not fit the spec; names the first one, and how many hold
            values that are not finite.
    """
    if not isinstance(column, np.ndarray):
        for i, text in enumerate(column):
            check_raw(spec, text, f"sample {i}")
    elif column.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(column).reshape(len(column), -1).all(axis=1))
        if len(bad):
            sample = column[bad[0]]
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(sample))[0])
            raise InvalidDataError(
                f"{len(bad):,} of {len(column):,} samples hold a value that is not finite.",
                received=f"{sample[at]} at {list(at)} of sample {bad[0]}",
                expected="finite numbers",
            )
    # All of an array have one dtype and one shape: one sample shows what becomes of them.
    preprocess_batch(spec, column[:1], vocabularies)


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
        raise InvalidDataError(
            f"The {what}, {part}, cannot be used: {error.message}",
            received=error.received,
            expected=error.expected,
            fix=fix,
        ) from None


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
        found = source.validation() if samples is None else samples
        if found is not None:
            check_samples(
                *(source, found),
                f"{split} samples ({file.name})",
                fix=f"raw samples and targets of the {split} split, every one of them finite and "
                "as the inputs are described",
            )
