"""The child process of repair: ``python -m convert.repair_worker FOLDER FD``.

The same model made again with other settings, and fine-tuned where the plan says so. Events are
those of ``convert.worker``, with a ``label`` for people beside the name; an attempt that fails is
one event, never the end.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from convert.attempt import Plan
from convert.events import describe_error, serve
from convert.job import FLOAT_OUTPUTS
from convert.opened import Opened, open_job
from convert.settings import Settings
from runtime.errors import EdgewardError, TargetError

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Make the attempts in the work folder and report events; returns the exit code."""
    return serve(arguments, _work)


def _work(folder: Path, tell: Any) -> None:
    opened = open_job(folder, tell)
    plan = Plan.read(folder)
    wanted = set(opened.job.artifacts)
    attempts = [one for one in plan.attempts if one.name in wanted]
    import numpy as np

    from convert.maker import Maker

    if not (folder / FLOAT_OUTPUTS).exists():
        tell(stage="float model on the samples that choose")
        outputs = opened.loaded.predict(opened.tensors(Path(opened.job.test)))
        np.savez(folder / FLOAT_OUTPUTS, **outputs)
    samples = opened.calibration()
    makers: dict[tuple[bool, bool], Maker] = {}
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
                makers[key] = Maker(loaded, samples, opened.job.switches, folder)
            if attempt.tuned:
                # Channels were equalised before the tuning, or not at all.
                settings = replace(settings, equalise=False)
            data, stateful = makers[key].make(attempt.artifact, settings)
        except EdgewardError as error:
            if key not in makers:
                failed[key] = error
            tell(failed=attempt.name, label=attempt.label, **describe_error(error))
            continue
        file = attempt.file(folder)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        tell(made=attempt.name, label=attempt.label, size=len(data), stateful=stateful)


def _tuned(opened: Opened, plan: Plan, samples: Any, settings: Settings, tell: Any) -> Any:
    from convert.equalise import equalised
    from convert.qat import fine_tune

    inputs = samples if plan.distil is None else opened.tensors(Path(plan.distil))
    loaded = equalised(opened.loaded, samples) if settings.equalise else opened.loaded
    tuned = fine_tune(loaded, inputs, progress=lambda text: tell(stage=text))
    if not tuned.record.best_epoch:
        # The same file again would only have another chance with the samples that judge.
        raise TargetError("Fine-tuning made nothing better.", received=tuned.record.describe())
    tell(note=tuned.record.describe())
    return tuned.loaded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
