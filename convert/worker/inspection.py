"""What a user's model takes and gives, asked of a child process.

Loading a model imports TensorFlow, takes seconds and may crash; the parent does neither. The answer
is ``inspected.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeward.convert.worker.events import load_tensorflow
from edgeward.convert.worker.protocol import read, write
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError

if TYPE_CHECKING:
    from edgeward.convert.model.loaded import LoadedModel

__all__ = ["INSPECTED", "Inspection", "InspectionJob", "ModelInput", "ModelOutput", "inspect"]

JOB = "inspect.json"

INSPECTED = "inspected.json"

# Enough to see the range of an output, few enough to take no time.
SAMPLES = 100


@dataclass(frozen=True)
class ModelInput:
    """One input: dimensions after the batch, and the dtype."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ModelOutput:
    """One output.

    Attributes:
        shape: Dimensions after the batch; None is any.
        activation: Name of the last layer's activation where it is known.
        low: Smallest value on the calibration samples; None where they do not fit the model.
        high: Largest value on them.
    """

    shape: tuple[int | None, ...]
    activation: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Inspection:
    """What is known of a model.

    Attributes:
        inputs: Name -> input.
        outputs: Name -> output.
        loops: Whether it is a SavedModel with loops, which cannot become integers.
    """

    inputs: Mapping[str, ModelInput]
    outputs: Mapping[str, ModelOutput]
    loops: bool = False

    def write(self, folder: Path) -> None:
        """Write the answer into the work folder."""
        write(folder / INSPECTED, self)

    @classmethod
    def read(cls, folder: Path) -> Inspection:
        """Read the answer from the work folder."""
        return read(folder / INSPECTED, cls)


@dataclass(frozen=True)
class InspectionJob:
    """What to look at.

    Attributes:
        model: Path of the model.
        calibration: Path of the raw calibration samples.
        shapes: Input name -> dimensions after the batch, where the user gave them.
        inputs: Input name -> spec as JSON; None where there is none.
        outputs: Output names; None takes the model's own.
        vocabularies: File name -> text.
        memory: Bytes of memory that looking may take; 0 is no limit.
    """

    model: str
    calibration: str
    shapes: dict[str, list[int]]
    inputs: dict[str, Any] | None
    outputs: list[str] | None
    vocabularies: dict[str, str]
    memory: int = 0

    def write(self, folder: Path) -> None:
        """Write the job into the work folder."""
        write(folder / JOB, self)

    @classmethod
    def read(cls, folder: Path) -> InspectionJob:
        """Read the job from the work folder."""
        return read(folder / JOB, cls)


def inspect(folder: Path, tell: Any) -> None:
    """Do the job in the work folder.

    Args:
        folder: The folder, which gets the answer too.
        tell: Sends its keywords as an event.
    """
    job = InspectionJob.read(folder)
    load_tensorflow(job.memory, tell)
    from edgeward.convert.model.load import load_model

    tell(stage="load the model")
    shapes = {name: tuple(shape) for name, shape in job.shapes.items()}
    names = None if job.inputs is None else list(job.inputs)
    loaded = load_model(Path(job.model), names, job.outputs, shapes)
    inputs = {
        spec.name: ModelInput(tuple(spec.shape[1:]), spec.dtype.name)
        for spec in loaded.signature(None)
    }
    tell(stage="look at the model's outputs")
    values = _values(loaded, job, inputs)
    outputs = {}
    for spec in loaded.results():
        name, shape, low, high = spec.name, tuple(spec.shape[1:]), None, None
        if name in values:
            # What the graph does not know, the values do.
            shape = tuple(int(d) for d in values[name].shape[1:])
            low, high = float(values[name].min()), float(values[name].max())
            low, high = (low, high) if abs(low) + abs(high) < float("inf") else (None, None)
        outputs[name] = ModelOutput(shape, loaded.activations[name], low, high)
    Inspection(inputs, outputs, loaded.loops).write(folder)


def _values(
    loaded: LoadedModel, job: InspectionJob, inputs: Mapping[str, ModelInput]
) -> Mapping[str, Array]:
    """Run the model on the first calibration samples; nothing where they do not fit.

    What is wrong with them the parent says: it knows the files.
    """
    from edgeward.runtime.preprocessing import preprocess_batch
    from edgeward.runtime.samples import load_samples
    from edgeward.runtime.specs import InputSpec

    arrays: dict[str, Array] = {}
    try:
        samples = load_samples(job.calibration).named(list(inputs), list(loaded.outputs))
        for name, wanted in inputs.items():
            column = samples.inputs[name][:SAMPLES]
            if job.inputs is not None:
                spec = InputSpec.from_json(job.inputs[name], name)
                vocabularies = {n: text.encode() for n, text in job.vocabularies.items()}
                column = preprocess_batch(spec, column, vocabularies)
            if isinstance(column, list) or column.shape[1:] != wanted.shape:
                return {}
            arrays[name] = column.astype(wanted.dtype)
    except InvalidDataError:
        return {}
    return loaded.predict(arrays)
