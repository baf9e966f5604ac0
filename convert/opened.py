"""A job opened in the worker: TensorFlow, the model and its samples as tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.job import CALIBRATION, Job
from convert.memory import limit_memory
from runtime.arrays import Array

__all__ = ["Opened", "open_job"]


@dataclass(frozen=True)
class Opened:
    """What a worker works with.

    Attributes:
        job: The job.
        loaded: Its model.
        folder: Its folder.
    """

    job: Job
    loaded: Any
    folder: Path

    def tensors(self, path: Path) -> Mapping[str, Array]:
        """Return the samples of a file as the model takes them: input name -> ``[N, ...]``.

        Raises:
            InvalidDataError: They do not fit the model.
        """
        from runtime.preprocessing import preprocess_batch
        from runtime.samples import load_samples
        from runtime.specs import InputSpec

        specs = {name: InputSpec.from_json(spec, name) for name, spec in self.job.inputs.items()}
        texts = {name: text.encode() for name, text in self.job.vocabularies.items()}
        samples = load_samples(path).named(list(specs), self.job.outputs)
        found: Mapping[str, Array] = self.loaded.check(
            {
                name: preprocess_batch(spec, samples.inputs[name], texts)
                for name, spec in specs.items()
            }
        )
        return found

    def calibration(self) -> Mapping[str, Array]:
        """Return the calibration samples of the job."""
        return self.tensors(self.folder / CALIBRATION)


def open_job(folder: Path, tell: Any) -> Opened:
    """Import TensorFlow and load the model of the job in ``folder``.

    Args:
        folder: Work folder.
        tell: Sends its keywords as an event.
    """
    job = Job.read(folder)
    tell(stage="load TensorFlow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Conversion needs no GPU, and one that training holds would only be in the way.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    from convert import trace

    limit_memory(job.memory)
    tell(stage="load the model")
    shapes = {name: tuple(dims) for name, dims in job.shapes.items()}
    loaded = trace.load_model(Path(job.model), list(job.inputs), job.outputs, shapes)
    if loaded.note:
        tell(note=loaded.note)
    return Opened(job, loaded, folder)
