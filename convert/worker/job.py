"""What a child process gets to do: a job, the attempts of a repair, and both opened over there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeward.convert.settings import DEFAULT, OLDEST, Settings, Switches
from edgeward.convert.variants import ArtifactId
from edgeward.convert.worker.events import load_tensorflow
from edgeward.convert.worker.protocol import read, write
from edgeward.runtime.arrays import Array

if TYPE_CHECKING:
    from edgeward.convert.model.loaded import LoadedModel

__all__ = ["CALIBRATION", "FLOAT_OUTPUTS", "JOB", "Attempt", "Job", "Opened", "Plan", "open_job"]

JOB = "job.json"

CALIBRATION = "calibration.npz"

FLOAT_OUTPUTS = "float_outputs.npz"

_ATTEMPTS = "attempts.json"


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
    inputs: dict[str, Any]
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
        write(folder / JOB, self)

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read the job from the work folder."""
        return read(folder / JOB, cls)


@dataclass(frozen=True)
class Attempt:
    """One way to make an artifact that missed its budget.

    Attributes:
        name: Unique in its plan; the folder that gets the file.
        artifact: Id of what is made.
        settings: How it is quantised.
        tuned: Whether it is made from the fine-tuned model.
        number: Its place among the attempts for one artifact, from 1.
    """

    name: str
    artifact: str
    settings: Settings = DEFAULT
    tuned: bool = False
    number: int = 1

    @property
    def label(self) -> str:
        """What a user is told that is made; ``name`` is for files and events.

        >>> Attempt("tflite-int8.calibration.1", "tflite-int8", Settings("mse"), number=2).label
        'tflite-int8, attempt 2: mse ranges from all calibration samples'
        """
        how = self.describe()
        # What is not calibrated can be made in one way only, which its id says.
        one_way = how == ArtifactId.parse(self.artifact).variant.id
        return self.artifact if one_way else f"{self.artifact}, attempt {self.number}: {how}"

    def file(self, folder: Path) -> Path:
        """Return where the file of this attempt is."""
        return folder / self.name / ArtifactId.parse(self.artifact).file

    def describe(self) -> str:
        """Return in words what is different.

        >>> Attempt("1", "tflite-int8", Settings("mse"), tuned=True).describe()
        'fine-tuned, mse ranges from all calibration samples'
        """
        variant = ArtifactId.parse(self.artifact).variant
        how = variant.id
        if variant.calibrated:
            how = replace(self.settings, float_layers=()).describe()
        layers = dict.fromkeys(_layer(name) for name in self.settings.float_layers)
        kept = f"; in float: {', '.join(layers)}" if layers else ""
        return ("fine-tuned, " if self.tuned else "") + how + kept


def _layer(tensor: str) -> str:
    """Return the layer of a tensor; TFLite joins the names of all ops that it fused."""
    parts = tensor.partition(";")[0].split("/")
    return parts[-2] if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class Plan:
    """What the repair worker makes.

    Attributes:
        attempts: In this order.
        distil: File of raw samples to fine-tune on; None takes the calibration samples.
    """

    attempts: Sequence[Attempt]
    distil: str | None = None

    def write(self, folder: Path) -> None:
        """Write the plan into the work folder."""
        write(folder / _ATTEMPTS, self)

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read the plan from the work folder."""
        return read(folder / _ATTEMPTS, cls)


@dataclass(frozen=True)
class Opened:
    """What a worker works with.

    Attributes:
        job: The job.
        loaded: Its model.
        folder: Its folder.
    """

    job: Job
    loaded: LoadedModel
    folder: Path

    def tensors(self, path: Path) -> Mapping[str, Array]:
        """Return the samples of a file as the model takes them: input name -> ``[N, ...]``.

        Raises:
            InvalidDataError: They do not fit the model.
        """
        from edgeward.runtime.preprocessing import preprocess_batch
        from edgeward.runtime.samples import load_samples
        from edgeward.runtime.specs import InputSpec

        specs = {name: InputSpec.from_json(spec, name) for name, spec in self.job.inputs.items()}
        texts = {name: text.encode() for name, text in self.job.vocabularies.items()}
        samples = load_samples(path).named(list(specs), self.job.outputs)
        return self.loaded.check(
            {
                name: preprocess_batch(spec, samples.inputs[name], texts)
                for name, spec in specs.items()
            }
        )

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
    load_tensorflow(job.memory, tell)
    from edgeward.convert.model.load import load_model

    tell(stage="load the model")
    shapes = {name: tuple(dims) for name, dims in job.shapes.items()}
    loaded = load_model(Path(job.model), list(job.inputs), job.outputs, shapes)
    if loaded.note:
        tell(note=loaded.note)
    return Opened(job, loaded, folder)
