"""Contract A: the run folder that training leaves and conversion reads. No TensorFlow here.

Training works in ``runs/<recipe>/.NNN.partial`` and renames it when everything is on the disk; a
folder without the dot is complete. DESIGN: docs/run-folder.md lists the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import EdgewardError, InvalidManifestError, InvalidRunError
from edgeward.runtime.files import is_plain_name, read_regular
from edgeward.runtime.samples import Samples, load_samples
from edgeward.runtime.specs import InputSpec, OutputSpec, specs_from_json, vocabulary_names
from edgeward.runtime.strict_json import Fields, loads

__all__ = ["GROUPS", "REQUIRED_FILES", "DatasetInfo", "Run", "RunInfo", "latest_run"]

FORMAT_VERSION = 1
# A file of its own: a key more in test.npz would be refused by those who read it today.
GROUPS = "groups.npz"
REQUIRED_FILES = ("run.json", "model.keras", "calibration.npz", "validation.npz", "test.npz")


@dataclass(frozen=True)
class DatasetInfo:
    """What a model was trained on.

    Args:
        name: Name of the data set.
        source: Where its files came from.
        sha256: Hash of its content, 64 hex digits.
        splits: Split name -> number of samples.
    """

    name: str
    source: str
    sha256: str
    splits: Mapping[str, int]


@dataclass(frozen=True)
class RunInfo:
    """The content of ``run.json``.

    Args:
        recipe: Name of the recipe.
        seed: Seed of weights, data order and augmentation.
        hyperparameters: Name -> value, as used.
        dataset: The data.
        inputs: Input name -> spec; the same object the bundle will hold.
        outputs: Output name -> spec.
        metrics: Split -> metric name -> value, of the saved float32 model.
        budget: Drift allowed by the recipe, in the metric's unit.
        device: Kind, names, strategy and precision.
        versions: Package -> version.
        wall_time_s: Seconds from start to finish.
        finished_at: ISO 8601 in UTC; filled in by ``PartialRun.finish``.
        training: How it went: epochs, augmentation, early stopping, resumes; free keys.
    """

    recipe: str
    seed: int
    hyperparameters: Mapping[str, Any]
    dataset: DatasetInfo
    inputs: Mapping[str, InputSpec]
    outputs: Mapping[str, OutputSpec]
    metrics: Mapping[str, Mapping[str, float]]
    budget: float
    device: Mapping[str, str]
    versions: Mapping[str, str]
    wall_time_s: float
    finished_at: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "format_version": FORMAT_VERSION,
            "recipe": self.recipe,
            "seed": self.seed,
            "hyperparameters": dict(self.hyperparameters),
            "dataset": asdict(self.dataset),
            "inputs": {name: spec.to_json() for name, spec in self.inputs.items()},
            "outputs": {name: spec.to_json() for name, spec in self.outputs.items()},
            "metrics": {split: dict(values) for split, values in self.metrics.items()},
            "budget": self.budget,
            "device": dict(self.device),
            "versions": dict(self.versions),
            "wall_time_s": self.wall_time_s,
            "finished_at": self.finished_at,
            "training": dict(self.training),
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> RunInfo:
        """Parse and validate the text of ``run.json``.

        Raises:
            InvalidManifestError: Not strict JSON or not the schema.
        """
        value = loads(data, "run.json", 1_000_000)
        if isinstance(value, dict):
            value.setdefault("training", {})  # runs of version 0.1 have none
        read = Fields(
            value,
            "run.json",
            ["format_version", *cls.__dataclass_fields__],
        )
        recipe = read.text("recipe")
        if not is_plain_name(recipe) or recipe.endswith(".refused"):
            # It names folders, and NAME.refused is where the report of a refusal goes.
            raise read.error("recipe", recipe, "a plain name")
        budget = read.number("budget")
        if not 0 < budget < 100:
            raise read.error("budget", budget, "0 < budget < 100")
        if read.integer("format_version") != FORMAT_VERSION:
            raise read.error("format_version", read.raw("format_version"), FORMAT_VERSION)
        dataset = Fields(
            read.raw("dataset"), "run.json.dataset", ["name", "source", "sha256", "splits"]
        )
        splits = Fields(
            dataset.mapping("splits"), "run.json.dataset.splits", dataset.mapping("splits")
        )
        metrics: dict[str, dict[str, float]] = {}
        for split, values in read.mapping("metrics").items():
            if not isinstance(values, dict):
                raise read.error("metrics", values, "split -> metric -> number")
            of_split = Fields(values, f"run.json.metrics.{split}", values)
            metrics[split] = {name: of_split.number(name) for name in values}
        return cls(
            recipe=recipe,
            seed=read.integer("seed"),
            hyperparameters=read.mapping("hyperparameters"),
            dataset=DatasetInfo(
                name=dataset.text("name"),
                source=dataset.text("source"),
                sha256=dataset.text("sha256"),
                splits={name: splits.integer(name) for name in dataset.mapping("splits")},
            ),
            inputs=specs_from_json(InputSpec, read.mapping("inputs"), "run.json.inputs"),
            outputs=specs_from_json(OutputSpec, read.mapping("outputs"), "run.json.outputs"),
            metrics=metrics,
            budget=budget,
            device=read.string_map("device"),
            versions=read.string_map("versions"),
            wall_time_s=read.number("wall_time_s"),
            finished_at=read.text("finished_at"),
            training=read.mapping("training"),
        )


@dataclass(frozen=True)
class Run:
    """A finished run."""

    path: Path
    info: RunInfo

    @property
    def id(self) -> str:
        """``recipe/NNN``."""
        return f"{self.info.recipe}/{self.path.name}"

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run folder.

        Raises:
            InvalidRunError: It is missing, unfinished or incomplete, or ``run.json`` is invalid.
        """
        path = Path(path).resolve()
        if not path.is_dir():
            raise InvalidRunError("There is no such run folder.", received=path)
        if path.name.startswith("."):
            raise InvalidRunError(
                "This run is not finished.",
                received=path.name,
                fix="train again; a finished run has no dot in front",
            )
        missing = [name for name in REQUIRED_FILES if not (path / name).is_file()]
        if missing:
            raise InvalidRunError(
                f"{path.name} is not a complete run folder.",
                received=f"no {', '.join(missing)}",
                expected="a folder written by python -m train",
            )
        try:
            return cls(path, RunInfo.from_bytes(read_regular(path / "run.json", 1_000_000)))
        except InvalidManifestError as error:
            raise InvalidRunError(
                f"{path.name}/run.json is invalid: {error.message}",
                received=error.received,
                expected=error.expected,
            ) from None

    def samples(self, split: str) -> Samples:
        """Load ``calibration``, ``validation`` or ``test`` samples, raw.

        Raises:
            InvalidDataError: The file is damaged or does not fit the run's inputs and outputs.
        """
        samples = load_samples(self.path / f"{split}.npz")
        return samples.named(list(self.info.inputs), list(self.info.outputs))

    def groups(self, split: str) -> Array | None:
        """Return the group of each sample of ``validation`` or ``test``, int64 [N].

        None where the run has no groups.

        Raises:
            InvalidRunError: The file is damaged.
        """
        path = self.path / GROUPS
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found: Array = arrays[split]
                whole = found.ndim == 1 and found.dtype == np.int64
        except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds
            raise InvalidRunError(
                f"{GROUPS} cannot be read.", received=f"{type(error).__name__}: {error}"
            ) from None
        if not whole:
            raise InvalidRunError(
                f"{GROUPS} is invalid.",
                received=f"{found.dtype} {list(found.shape)}",
                expected="int64 [N]",
            )
        return found

    def vocabularies(self) -> dict[str, bytes]:
        """Return the vocabulary files that the inputs' steps name, by file name."""
        names = vocabulary_names(self.info.inputs.values())
        return {name: read_regular(self.path / name, 2**28) for name in names}


def latest_run(root: Path) -> Run:
    """Return the run below ``root`` with the latest ``finished_at``.

    Raises:
        InvalidRunError: There is no finished run.
    """
    runs: list[Run] = []
    for path in sorted(root.glob("*/*/run.json")):
        if path.parent.name.startswith("."):
            continue
        try:
            runs.append(Run.open(path.parent))
        except EdgewardError:
            # A broken neighbour must not hide the good ones; naming it as SOURCE shows its error.
            continue
    if not runs:
        raise InvalidRunError(
            "There is no finished run.",
            received=root,
            fix="python -m train mnist_cnn, or name the run: python -m convert runs/RECIPE/NNN",
        )
    return max(runs, key=lambda run: run.info.finished_at)
