"""A data set in memory, and the checks that it passes before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.preprocessing import check_raw_column
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import InputSpec, OutputSpec, vocabulary_names
from edgeward.runtime.tasks import check_targets

__all__ = ["Dataset", "check_dataset"]


@dataclass(frozen=True)
class Dataset:
    """Raw samples of the three splits, which share no sample.

    Args:
        name: Name of the data set.
        source: Where its files came from, in words.
        sha256: Hash of its content, 64 hex digits.
        train: What the weights are fitted to; calibration samples come from here too.
        validation: What hyper-parameters and repair are chosen on.
        test: What is measured at the end, and nothing else.
        vocabularies: File name -> content, for the ``lookup`` steps that name it; made of the
            training split alone.
        groups: Split -> the group of each sample, [N] of texts or whole numbers: the person, the
            recording or the scene that it comes from. All splits, or none. No group is in two
            splits, and ``--folds`` keeps them together.
        notes: What was noticed while loading, for ``run.json``.
    """

    name: str
    source: str
    sha256: str
    train: Samples
    validation: Samples
    test: Samples
    vocabularies: Mapping[str, bytes] = field(default_factory=dict)
    groups: Mapping[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Samples]:
        """The splits by name, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def check_dataset(
    dataset: Dataset, inputs: Mapping[str, InputSpec], outputs: Mapping[str, OutputSpec]
) -> None:
    """Check each split against what the model takes and gives.

    Raises:
        InvalidDataError: Names the split and the sample: a value that is not finite, a wrong
            dtype or shape, a label out of range; or a class or vocabulary that is missing; or
            groups that do not fit the splits.
    """
    if dataset.groups:
        _check_groups(dataset)
    for file in vocabulary_names(inputs.values()):
        if file not in dataset.vocabularies:
            raise InvalidDataError(
                "The data set has no vocabulary of the name that the input's lookup step asks for.",
                received=sorted(dataset.vocabularies),
                expected=file,
                fix="Dataset(vocabularies={...}), file name -> content",
            )
    for split, samples in dataset.splits.items():
        named = samples.named(list(inputs), list(outputs))
        for name, spec in inputs.items():
            check_raw_column(spec, named.inputs[name], f"{split} sample")
        for name, output in outputs.items():
            if name in named.targets:
                _check_targets(output, named.targets[name], split)
            elif output.task != "generation":
                raise InvalidDataError(
                    f"Split {split}: there are no targets for {name!r}.",
                    received=sorted(named.targets),
                    expected=sorted(outputs),
                )
    for name, output in outputs.items():
        if output.labels is not None:
            _check_classes(output.labels, dataset.train.targets[name])


def _check_groups(dataset: Dataset) -> None:
    lengths = {split: np.shape(ids) for split, ids in dataset.groups.items()}
    expected = {split: (len(samples),) for split, samples in dataset.splits.items()}
    if lengths != expected:
        raise InvalidDataError(
            "The groups do not fit the splits.",
            received=lengths,
            expected=expected,
            fix="Dataset(groups={...}), split -> one id for each sample",
        )
    found: dict[object, str] = {}
    for split, ids in dataset.groups.items():
        for one in np.unique(ids).tolist():
            other = found.setdefault(one, split)
            if other != split:
                raise InvalidDataError(
                    "A group is in two splits: what is measured would not hold for new ones.",
                    received=f"group {one!r} in {other} and {split}",
                    expected="each person, recording or scene in one split",
                )


def _check_targets(spec: OutputSpec, targets: Array, split: str) -> None:
    try:
        check_targets(spec, targets)
    except InvalidDataError as error:
        raise InvalidDataError(
            f"Split {split}: {error.message}",
            received=error.received,
            expected=error.expected,
            fix=error.fix,
        ) from None


def _check_classes(labels: Sequence[str], targets: Array) -> None:
    missing = sorted(set(range(len(labels))) - set(np.unique(targets).tolist()))
    if missing:
        raise InvalidDataError(
            "A class is missing from the training split: the model could never answer it.",
            received="no sample of " + ", ".join(repr(labels[i]) for i in missing),
            expected="samples of each class",
            fix="add samples of it, or take its label away",
        )
