"""What is converted: a model file with its data, as found in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InvalidDataError, InvalidRunError
from runtime.files import sha256_file
from runtime.golden import MIN_VECTORS
from runtime.samples import Samples, load_samples
from runtime.specs import InputSpec, OutputSpec
from train.run import Run, latest_run

__all__ = ["Source", "open_source"]


@dataclass(frozen=True)
class Source:
    """A model and everything that is needed to convert and to measure it.

    Attributes:
        name: Name of the bundle it becomes.
        run: Run id.
        model: Path of the ``.keras`` file.
        model_sha256: Its hash.
        data_sha256: Hash of the test data file.
        inputs: Input name -> spec.
        outputs: Output name -> spec.
        calibration: Raw samples of the training split.
        calibration_name: Where they come from, for messages.
        test: Raw samples and targets of the test split.
        test_file: The file they come from.
        expected: Metric name -> value that the float model must reproduce on ``test``.
        budget: Drift allowed.
        vocabularies: Content of the vocabulary files.
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


def open_source(
    source: Path | str | None, *, runs: Path | str = "runs", calibration: Path | None = None
) -> Source:
    """Open a run folder, the latest below ``runs`` for None.

    Args:
        source: A run folder.
        runs: Where to look for the latest run.
        calibration: Raw samples to calibrate with instead of the run's.

    Raises:
        InvalidRunError: There is no such run, or it is incomplete.
        InvalidDataError: Its data are damaged.
    """
    run = latest_run(Path(runs)) if source is None else Run.open(source)
    info = run.info
    if calibration is None:
        samples = run.samples("calibration")
        name = f"{run.id}/calibration.npz"
    else:
        samples = load_samples(calibration).named(list(info.inputs), list(info.outputs))
        name = str(calibration)
    test = run.samples("test")
    noted = info.dataset.splits.get("test")
    if noted != len(test):
        raise InvalidRunError(
            f"{run.id}/test.npz is not the test split that was trained with.",
            received=f"{len(test)} samples",
            expected=f"{noted}, as run.json says",
        )
    if len(test) < MIN_VECTORS:
        raise InvalidDataError(
            f"{run.id}/test.npz is too small to measure anything.",
            received=f"{len(test)} samples",
            expected=f"at least {MIN_VECTORS}, better thousands",
        )
    if "test" not in info.metrics:
        raise InvalidRunError(f"{run.id}/run.json has no metrics of the test split.")
    return Source(
        name=info.recipe,
        run=run.id,
        model=run.path / "model.keras",
        model_sha256=sha256_file(run.path / "model.keras"),
        data_sha256=sha256_file(run.path / "test.npz"),
        inputs=info.inputs,
        outputs=info.outputs,
        calibration=samples,
        calibration_name=name,
        test=test,
        test_file=run.path / "test.npz",
        expected=info.metrics["test"],
        budget=info.budget,
        vocabularies=run.vocabularies(),
    )
