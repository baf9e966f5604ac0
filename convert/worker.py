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

        try:
            _work(folder, Job.read(folder), tell)
        except EdgewardError as error:
            tell(
                error=type(error).__name__,
                message=error.message,
                received=None if error.received is None else str(error.received),
                expected=None if error.expected is None else str(error.expected),
                fix=error.fix,
            )
            return error.exit_code
        tell(done=True, versions=_versions())
    return 0


def _work(folder: Path, job: Job, tell: Any) -> None:
    tell(stage="load TensorFlow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Conversion needs no GPU, and one that training holds would only be in the way.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import numpy as np

    from convert import to_onnx, to_tflite, trace
    from convert.fused_lstm import can_fuse
    from convert.variants import VARIANTS
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
    loaded = trace.load_model(Path(job.model), list(specs), job.outputs)
    tell(stage="float model on the test split")
    np.savez(folder / FLOAT_OUTPUTS, **loaded.predict(tensors(Path(job.test))))
    calibration = tensors(folder / CALIBRATION)
    recurrent = trace.recurrent_layers(loaded)
    frozen: dict[bool, Any] = {}
    proto = None
    for wanted in job.artifacts:
        artifact_id, stateful = wanted, False
        if recurrent and wanted == "onnx-int8":
            artifact_id = "onnx-dynamic"
            tell(
                note="onnx-dynamic instead of onnx-int8: ONNX has no static int8 form of "
                f"{recurrent[0]}; its weights are int8, its activations are quantised as they come"
            )
        tell(stage="convert", artifact=artifact_id)
        format_, _, variant_id = artifact_id.partition("-")
        variant = VARIANTS[variant_id]
        if format_ == "tflite":
            # The calibrator dies of the WHILE loop of a recurrent layer (segmentation fault).
            loop = bool(recurrent) and variant.calibrated
            stateful = loop and can_fuse(loaded)
            if stateful:
                data = to_tflite.to_tflite_fused(loaded, folder / "fused", variant, calibration)
            else:
                form = trace.unrolled(loaded) if loop else loaded
                frozen.setdefault(loop, trace.freeze(form))
                data = to_tflite.to_tflite(form, frozen[loop], variant, calibration)
        else:
            proto = proto or to_onnx.float_graph(loaded)
            data = to_onnx.to_onnx(proto, variant, calibration)
        (folder / artifact_file(artifact_id)).write_bytes(data)
        tell(made=artifact_id, size=len(data), stateful=stateful)


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
