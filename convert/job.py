"""The job that the worker process gets, and the file names that both sides use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["CALIBRATION", "FLOAT_OUTPUTS", "JOB", "Job", "artifact_file"]

JOB = "job.json"
CALIBRATION = "calibration.npz"
FLOAT_OUTPUTS = "float_outputs.npz"


def artifact_file(artifact_id: str) -> str:
    """Return the file name of an artifact, in the work folder and in the bundle."""
    return f"{artifact_id}.{artifact_id.partition('-')[0]}"


@dataclass(frozen=True)
class Job:
    """What the worker does.

    Attributes:
        model: Path of the Keras model.
        test: Path of the raw test samples.
        inputs: Input name -> spec as JSON.
        outputs: Output names.
        vocabularies: File name -> text.
        artifacts: Ids of the artifacts to make.
    """

    model: str
    test: str
    inputs: dict[str, object]
    outputs: list[str]
    vocabularies: dict[str, str]
    artifacts: list[str]

    def write(self, folder: Path) -> None:
        """Write the job into the work folder."""
        (folder / JOB).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read the job from the work folder."""
        return cls(**json.loads((folder / JOB).read_text()))
