"""The job that the worker process gets, and the file names that both sides use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from convert.settings import Settings

__all__ = ["CALIBRATION", "FLOAT_OUTPUTS", "JOB", "OLDEST", "Job", "Switches", "artifact_file"]

JOB = "job.json"
CALIBRATION = "calibration.npz"
FLOAT_OUTPUTS = "float_outputs.npz"


def artifact_file(artifact_id: str) -> str:
    """Return the file name of an artifact, in the work folder and in the bundle."""
    return f"{artifact_id}.{artifact_id.partition('-')[0]}"


@dataclass(frozen=True)
class Switches:
    """What a target needs of the converter to be able to load the files.

    Attributes:
        per_tensor_dense: One scale for all weights of a dense layer in dynamic-range files: scales
            per channel are FULLY_CONNECTED version 12, which runtimes before TensorFlow 2.17 lack.
    """

    per_tensor_dense: bool = True


# What the oldest supported runtimes need.
OLDEST = Switches()


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
        tolerant: Go on with the next artifact where one cannot be made.
        memory: Bytes of memory that the worker may take; 0 is no limit.
        switches: See ``Switches``.
        shapes: Input name -> dimensions after the batch that the model leaves open.
        settings: Artifact id -> how it is quantised, where that is not the default.
    """

    model: str
    test: str
    inputs: dict[str, object]
    outputs: list[str]
    vocabularies: dict[str, str]
    artifacts: list[str]
    tolerant: bool = False
    memory: int = 0
    switches: Switches = OLDEST
    shapes: dict[str, list[int]] = field(default_factory=dict)
    settings: dict[str, Settings] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the job into the work folder."""
        (folder / JOB).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read the job from the work folder."""
        values = json.loads((folder / JOB).read_text())
        switches = Switches(**values["switches"])
        settings = {name: Settings.from_json(given) for name, given in values["settings"].items()}
        return cls(**{**values, "switches": switches, "settings": settings})
