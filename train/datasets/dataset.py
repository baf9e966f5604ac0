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
    """

    name: str
    source: str
    sha256: str
    train: Samples
    validation: Samples
    test: Samples
    vocabularies: Mapping[str, bytes] = field(default_factory=dict)

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
            dtype or shape, a label out of range; or a class or vocabulary that is missing.
    """
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
