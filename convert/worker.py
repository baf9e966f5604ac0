"""The child process that imports TensorFlow and converts: ``python -m convert.worker FOLDER FD``.

Its parent reads one JSON event per line from the file descriptor FD; everything that TensorFlow
prints goes to stdout and stderr, which the parent keeps as a log. A crash here (a NaN weight or an
odd graph is a segmentation fault in the converter) is an error message there.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.job import CALIBRATION, FLOAT_OUTPUTS, Job, artifact_file
from runtime.errors import EdgewardError

__all__ = ["main"]

PR_SET_PDEATHSIG = 1
PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")


def main(arguments: list[str]) -> int:
    """Do the job in the work folder and report events; returns the exit code."""
    _die_with_parent()
    folder = Path(arguments[0])
    with os.fdopen(int(arguments[1]), "w", buffering=1) as events:

        def tell(**event: Any) -> None:
            events.write(json.dumps(event) + "\n")

        job = Job.read(folder)
        _limit_memory(job.memory)
        try:
            _work(folder, job, tell)
        except EdgewardError as error:
            tell(error=type(error).__name__, **_describe(error))
            return error.exit_code
        tell(done=True, versions=_versions())
    return 0


def _work(folder: Path, job: Job, tell: Any) -> None:
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
            tell(failed=artifact_id, **_describe(error))
            continue
        (folder / artifact_file(artifact_id)).write_bytes(data)
        tell(made=artifact_id, size=len(data), stateful=stateful)


def _describe(error: EdgewardError) -> dict[str, Any]:
    return {
        "message": error.message,
        "received": None if error.received is None else str(error.received),
        "expected": None if error.expected is None else str(error.expected),
        "fix": error.fix,
    }


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


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies: nobody would read the result."""
    if sys.platform.startswith("linux"):
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
