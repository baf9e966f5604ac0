"""The child process that imports TensorFlow and converts: ``python -m convert.worker FOLDER FD``.

Its parent reads one JSON event per line from the file descriptor FD; everything that TensorFlow
prints goes to stdout and stderr, which the parent keeps as a log. A crash here (a NaN weight or an
odd graph is a segmentation fault in the converter) is an error message there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from convert.events import describe_error, serve
from convert.job import FLOAT_OUTPUTS, artifact_file
from convert.memory import memory_error, says_memory
from convert.opened import open_job
from runtime.errors import EdgewardError

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Do the job in the work folder and report events; returns the exit code."""
    return serve(arguments, _work)


def _work(folder: Path, tell: Any) -> None:
    opened = open_job(folder, tell)
    job, loaded = opened.job, opened.loaded
    import numpy as np

    from convert.maker import Maker

    tell(stage="float model on the test split")
    np.savez(folder / FLOAT_OUTPUTS, **loaded.predict(opened.tensors(Path(job.test))))
    maker = Maker(loaded, opened.calibration(), job.switches, folder)
    for wanted in job.artifacts:
        artifact_id = wanted if job.tolerant else maker.settle(wanted)
        if artifact_id != wanted:
            tell(note=f"{artifact_id} instead of {wanted}: {maker.why_not(wanted)}")
            if artifact_id in job.artifacts:
                continue
        tell(stage="convert", artifact=artifact_id)
        try:
            data, stateful = maker.make(artifact_id)
        except EdgewardError as error:
            if not job.tolerant:
                raise
            if says_memory(str(error)):
                error = memory_error(f"convert {artifact_id}", job.memory, error.message)
            tell(failed=artifact_id, **describe_error(error))
            continue
        (folder / artifact_file(artifact_id)).write_bytes(data)
        tell(made=artifact_id, size=len(data), stateful=stateful)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
