"""One attempt of repair: how an artifact is made differently. Read by both sides of the worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from convert.job import artifact_file
from convert.settings import DEFAULT, Settings

__all__ = ["Attempt", "Plan"]

_FILE = "attempts.json"


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
        one_way = how == self.artifact.partition("-")[2]
        return self.artifact if one_way else f"{self.artifact}, attempt {self.number}: {how}"

    def file(self, folder: Path) -> Path:
        """Return where the file of this attempt is."""
        return folder / self.name / artifact_file(self.artifact)

    def describe(self) -> str:
        """Return in words what is different.

        >>> Attempt("1", "tflite-int8", Settings("mse"), tuned=True).describe()
        'fine-tuned, mse ranges from all calibration samples'
        """
        variant = self.artifact.partition("-")[2]
        how = variant
        if variant not in ("fp16", "dynamic"):
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
        (folder / _FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read the plan from the work folder."""
        values = json.loads((folder / _FILE).read_text())
        return cls(
            [
                Attempt(**{**one, "settings": Settings.from_json(one["settings"])})
                for one in values["attempts"]
            ],
            values["distil"],
        )
