"""What is converted: a model with its data, from a run folder or as the user gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgeward.convert.settings import Switches
from edgeward.convert.source.digests import sample_digests
from edgeward.convert.worker.job import Job
from edgeward.runtime.samples import Samples, load_samples
from edgeward.runtime.specs import InputSpec, OutputSpec

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """A model and everything that is needed to convert and to measure it.

    Attributes:
        name: Name of the bundle it becomes.
        run: Run id; for a user's model the name of its file.
        model: Path of the ``.keras`` or ``.h5`` file or of the SavedModel folder.
        model_sha256: Its hash.
        data_sha256: Hash of the test data file.
        inputs: Input name -> spec.
        outputs: Output name -> spec.
        calibration: Raw samples of the training split.
        calibration_name: Where they come from, for messages.
        test: Raw samples and targets of the test split; without test data the calibration
            samples, without targets.
        test_file: The file they come from.
        expected: Metric, or ``NAME.METRIC`` for one output, -> value that the float model must
            reproduce on ``test``.
        budget: Drift allowed.
        vocabularies: Content of the vocabulary files.
        validation_file: Raw samples and targets of the validation split, where there is one.
        shapes: Input name -> dimensions after the batch that the model leaves open.
        budgets: Output name -> drift allowed, where it is not ``budget``.
        notes: What was inferred, and what is not proven.
        user: Whether it is a user's model, whose metric may be unknown, and not a run.
    """

    name: str
    run: str
    model: Path
    model_sha256: str
    data_sha256: str
    inputs: Mapping[str, InputSpec]
    outputs: Mapping[str, OutputSpec]
    calibration: Samples
    calibration_name: str
    test: Samples
    test_file: Path
    expected: Mapping[str, float]
    budget: float
    vocabularies: Mapping[str, bytes]
    validation_file: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    user: bool = False

    @property
    def unverified(self) -> tuple[str, ...]:
        """The outputs without targets: nothing can be said about them but agreement."""
        return tuple(name for name in self.outputs if name not in self.test.targets)

    @property
    def verified(self) -> bool:
        """Whether every output has targets to be judged by."""
        return not self.unverified

    def budget_of(self, output: str) -> float:
        """Return the drift allowed for an output."""
        return self.budgets.get(output, self.budget)

    def validation(self) -> Samples | None:
        """Return the validation samples, loaded once; None where there are none."""
        return self._validation

    @cached_property
    def _validation(self) -> Samples | None:
        if self.validation_file is None:
            return None
        return load_samples(self.validation_file).named(list(self.inputs), list(self.outputs))

    # Five stages compare the splits with each other, which hashes every sample. A copy with another
    # split (``replace``) has nothing of this and computes its own.

    @cached_property
    def test_digests(self) -> Sequence[bytes]:
        """The hash of each test sample, see ``sample_digests``."""
        return sample_digests(self.test)

    @cached_property
    def calibration_digests(self) -> Sequence[bytes]:
        """The hash of each calibration sample."""
        return sample_digests(self.calibration)

    @cached_property
    def validation_digests(self) -> Sequence[bytes]:
        """The hash of each validation sample; empty where there are none."""
        validation = self.validation()
        return () if validation is None else sample_digests(validation)

    def job(
        self, artifacts: Sequence[str], *, tolerant: bool, memory: int, switches: Switches
    ) -> Job:
        """Return what a worker gets to do with this model.

        Args:
            artifacts: Ids of the artifacts, or names of the attempts, to make.
            tolerant: Note what cannot be made and go on.
            memory: Bytes that the worker may take; 0 is no limit.
            switches: What the target needs of the converter.
        """
        return Job(
            model=str(self.model.resolve()),
            test=str(self.test_file.resolve()),
            inputs={name: spec.to_json() for name, spec in self.inputs.items()},
            outputs=list(self.outputs),
            vocabularies={name: data.decode() for name, data in self.vocabularies.items()},
            artifacts=list(artifacts),
            tolerant=tolerant,
            memory=memory,
            switches=switches,
            shapes={name: list(shape) for name, shape in self.shapes.items()},
        )
