"""The child process that imports TensorFlow and converts: ``python -m convert.worker FOLDER FD``.

Its parent reads one JSON event per line from the file descriptor FD; everything that TensorFlow
prints goes to stdout and stderr, which the parent keeps as a log. A crash here (a NaN weight or an
odd graph is a segmentation fault in the converter) is an error message there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.events import describe_error, serve
from convert.job import CALIBRATION, FLOAT_OUTPUTS, Job, artifact_file
from runtime.errors import EdgewardError

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Do the job in the work folder and report events; returns the exit code."""
    return serve(arguments, _work)


def _work(folder: Path, tell: Any) -> None:
    job = Job.read(folder)
    _limit_memory(job.memory)
    tell(stage="load TensorFlow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Conversion needs no GPU, and one that training holds would only be in the way.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import numpy as np

    from convert import trace
    from convert.maker import Maker
    from runtime.preprocessing import preprocess_batch
    from runtime.samples import load_samples
    from runtime.specs import InputSpec

    specs = {name: InputSpec.from_json(spec, name) for name, spec in job.inputs.items()}
    vocabularies = {name: text.encode() for name, text in job.vocabularies.items()}

    def tensors(path: Path) -> Mapping[str, Any]:
        samples = load_samples(path).named(list(specs), job.outputs)
        return loaded.check(
            {
                name: preprocess_batch(spec, samples.inputs[name], vocabularies)
                for name, spec in specs.items()
            }
        )

    tell(stage="load the model")
    shapes = {name: tuple(dims) for name, dims in job.shapes.items()}
    loaded = trace.load_model(Path(job.model), list(specs), job.outputs, shapes)
    if loaded.note:
        tell(note=loaded.note)
    tell(stage="float model on the test split")
    np.savez(folder / FLOAT_OUTPUTS, **loaded.predict(tensors(Path(job.test))))
    maker = Maker(loaded, tensors(folder / CALIBRATION), job.switches, folder)
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
            tell(failed=artifact_id, **describe_error(error))
            continue
        (folder / artifact_file(artifact_id)).write_bytes(data)
        tell(made=artifact_id, size=len(data), stateful=stateful)


def _limit_memory(size: int) -> None:
    """Let an allocation beyond ``size`` bytes fail here, instead of the machine everywhere."""
    if not size:
        return
    try:
        import resource
    except ImportError:  # Windows
        return
    # Data, not address space: TensorFlow reserves far more addresses than it uses.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
