"""What is converted: a model with its data, from a run folder or as the user gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeward.convert.source.files import Hashes, bundle_name, model_kind, refuse_twins
from edgeward.convert.source.source import Source
from edgeward.convert.source.user import UserData, open_user_model
from edgeward.convert.worker.memory import default_memory
from edgeward.runtime.errors import InvalidDataError, InvalidRunError, UsageError
from edgeward.runtime.golden import MIN_VECTORS
from edgeward.runtime.samples import load_samples
from edgeward.train.run import Run, latest_run

__all__ = ["open_source", "source_name"]


def source_name(source: Path | str | None, runs: Path | str = "runs") -> str:
    """Return the name of the bundle that a source becomes, without opening its data.

    Args:
        source: See ``open_source``.
        runs: Where to look for the latest run.

    Raises:
        InvalidRunError: There is no such run.
        InvalidModelError: There is no such model.
    """
    if source is not None and model_kind(Path(source)) != "run":
        return bundle_name(Path(source))
    run = latest_run(Path(runs)) if source is None else Run.open(source)
    return run.info.recipe


def open_source(
    source: Path | str | None,
    data: UserData | None = None,
    *,
    runs: Path | str = "runs",
    timeout: float = 600.0,
    progress: Callable[[str], None] | None = None,
    memory: int | None = None,
    hashes: Hashes | None = None,
) -> Source:
    """Open a run folder, or a user's model with the user's data.

    Args:
        source: A run folder, a ``.keras`` or ``.h5`` file, or a SavedModel folder; None takes the
            latest run below ``runs``.
        data: What the user gives along; a run has its own, and takes other samples to calibrate
            and to choose repairs by at most.
        runs: Where to look for the latest run.
        timeout: Seconds that loading a user's model may take.
        progress: Called with one line per step.
        memory: Bytes that loading a user's model may take; 0 is no limit, None nine tenths of the
            machine's, or of the container's where that has less.
        hashes: Of the files that were read already.

    Raises:
        UsageError: Options that do not go with the source.
        InvalidRunError: There is no such run, or it is incomplete.
        InvalidDataError: The data are damaged or do not fit the model.
        InvalidModelError: The user's model cannot be read.
        TargetError: Shapes of the user's model are not known, or loading it crashed.
    """
    data, hashes = data or UserData(), hashes or Hashes()
    if source is None or model_kind(Path(source)) == "run":
        foreign = {
            "--test": data.test,
            "--labels": data.labels,
            "--preprocessing": data.preprocessing,
            "--shape": data.shapes,
            "--expect": data.expect,
        }
        given = [option for option, value in foreign.items() if value]
        if given:
            raise UsageError(
                "A run folder says that itself.",
                received=", ".join(given),
                expected="a .keras or .h5 file or a SavedModel folder as SOURCE",
            )
        run = latest_run(Path(runs)) if source is None else Run.open(source)
        return _of_run(run, data.calibration, data.validation, hashes)
    return open_user_model(
        Path(source),
        data,
        hashes,
        timeout=timeout,
        progress=progress or (lambda _: None),
        memory=default_memory() if memory is None else memory,
    )


def _of_run(run: Run, calibration: Path | None, validation: Path | None, hashes: Hashes) -> Source:
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
    _check_given(run, calibration, validation, hashes)
    if "test" not in info.metrics:
        raise InvalidRunError(f"{run.id}/run.json has no metrics of the test split.")
    return Source(
        name=info.recipe,
        run=run.id,
        model=run.path / "model.keras",
        model_sha256=hashes.of(run.path / "model.keras"),
        data_sha256=hashes.of(run.path / "test.npz"),
        inputs=info.inputs,
        outputs=info.outputs,
        calibration=samples,
        calibration_name=name,
        test=test,
        test_file=run.path / "test.npz",
        expected=info.metrics["test"],
        budget=info.budget,
        vocabularies=run.vocabularies(),
        validation_file=validation or run.path / "validation.npz",
    )


def _check_given(
    run: Run, calibration: Path | None, validation: Path | None, hashes: Hashes
) -> None:
    """Check that a file which is given is not another split of the run, or the other file."""
    given = {"calibration": calibration, "validation": validation, "test": None}
    if not any(given.values()):
        return  # the run's own are what training made of its data
    splits = {
        f"--{split}" if file else f"the run's {split}": file or run.path / f"{split}.npz"
        for split, file in given.items()
    }
    refuse_twins({where: file for where, file in splits.items() if file.exists()}, hashes)
