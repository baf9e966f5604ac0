"""The child process that imports TensorFlow and converts: ``python -m MODULE PROGRAM FOLDER FD``.

Its parent reads one JSON event per line from the file descriptor FD; everything that TensorFlow
prints goes to stdout and stderr, which the parent keeps as a log. A crash here (a NaN weight or an
odd graph is a segmentation fault in the converter) is an error message there.

``artifacts`` makes what was asked for. ``attempts`` makes the attempts of a repair: the same model
with other settings, and fine-tuned where the plan says so. Their events have a ``label`` for people
beside the name, and one that fails is one event, never the end.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeward.convert.settings import Settings
from edgeward.convert.variants import ArtifactId
from edgeward.convert.worker.events import describe_error, serve
from edgeward.convert.worker.inspection import inspect
from edgeward.convert.worker.job import FLOAT_OUTPUTS, Opened, Plan, open_job
from edgeward.convert.worker.memory import memory_error, says_memory
from edgeward.runtime.errors import EdgewardError, TargetError

if TYPE_CHECKING:
    from edgeward.convert.model.loaded import LoadedModel

__all__ = ["main"]


def _artifacts(folder: Path, tell: Any) -> None:
    opened = open_job(folder, tell)
    job, loaded = opened.job, opened.loaded
    import numpy as np

    from edgeward.convert.export.exporter import Exporter

    tell(stage="float model on the test split")
    np.savez(folder / FLOAT_OUTPUTS, **loaded.predict(opened.tensors(Path(job.test))))
    maker = Exporter(loaded, opened.calibration(), job.switches, folder)
    for wanted in job.artifacts:
        artifact_id = wanted if job.tolerant else maker.settle(wanted)
        if artifact_id != wanted:
            tell(instead=artifact_id, wanted=wanted, why=maker.why_not(wanted))
            if artifact_id in job.artifacts:
                continue
        tell(stage="convert", artifact=artifact_id)
        try:
            data, stateful = maker.make(artifact_id)
        except EdgewardError as error:
            if not job.tolerant:
                raise
            error = _named(error, f"convert {artifact_id}", job.memory)
            tell(failed=artifact_id, **describe_error(error))
            continue
        (folder / ArtifactId.parse(artifact_id).file).write_bytes(data)
        tell(made=artifact_id, size=len(data), stateful=stateful)


def _attempts(folder: Path, tell: Any) -> None:
    opened = open_job(folder, tell)
    plan = Plan.read(folder)
    wanted = set(opened.job.artifacts)
    attempts = [one for one in plan.attempts if one.name in wanted]
    import numpy as np

    from edgeward.convert.export.exporter import Exporter

    if not (folder / FLOAT_OUTPUTS).exists():
        tell(stage="float model on the samples that choose")
        outputs = opened.loaded.predict(opened.tensors(Path(opened.job.test)))
        np.savez(folder / FLOAT_OUTPUTS, **outputs)
    samples = opened.calibration()
    makers: dict[tuple[bool, bool], Exporter] = {}
    # A tuning that failed is not done again for the next attempt.
    failed: dict[tuple[bool, bool], EdgewardError] = {}
    for attempt in attempts:
        tell(stage="convert", artifact=attempt.name, label=attempt.label)
        settings = attempt.settings
        key = (attempt.tuned, attempt.tuned and settings.equalise)
        try:
            if key in failed:
                raise failed[key]
            if key not in makers:
                loaded = opened.loaded
                if attempt.tuned:
                    loaded = _tuned(opened, plan, samples, settings, tell)
                makers[key] = Exporter(loaded, samples, opened.job.switches, folder)
            if attempt.tuned:
                # Channels were equalised before the tuning, or not at all.
                settings = replace(settings, equalise=False)
            data, stateful = makers[key].make(attempt.artifact, settings)
        except EdgewardError as error:
            if key not in makers:
                failed[key] = error
            error = _named(error, f"convert {attempt.label}", opened.job.memory)
            tell(failed=attempt.name, label=attempt.label, **describe_error(error))
            continue
        file = attempt.file(folder)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        tell(made=attempt.name, label=attempt.label, size=len(data), stateful=stateful)


def _named(error: EdgewardError, place: str, limit: int) -> EdgewardError:
    """Return the error; where a library under it had too little memory, one that says so."""
    return memory_error(place, limit, error.message) if says_memory(str(error)) else error


def _tuned(opened: Opened, plan: Plan, samples: Any, settings: Settings, tell: Any) -> LoadedModel:
    from edgeward.convert.weights.equalise import equalised
    from edgeward.convert.weights.qat import fine_tune

    inputs = samples if plan.distil is None else opened.tensors(Path(plan.distil))
    loaded = equalised(opened.loaded, samples) if settings.equalise else opened.loaded
    tuned = fine_tune(loaded, inputs, progress=lambda text: tell(stage=text))
    if not tuned.record.best_epoch:
        # The same file again would only have another chance with the samples that judge.
        raise TargetError("Fine-tuning made nothing better.", received=tuned.record.describe())
    tell(note=tuned.record.describe())
    return tuned.loaded


# What a child can do; ``inspect`` says what a user's model takes and gives.
_PROGRAMS = {"artifacts": _artifacts, "attempts": _attempts, "inspect": inspect}


def main(arguments: list[str]) -> int:
    """Run a program in the work folder and report events; returns the exit code.

    Args:
        arguments: Name of the program, work folder, number of the file descriptor.
    """
    return serve(arguments[1:], _PROGRAMS[arguments[0]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
