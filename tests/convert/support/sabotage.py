"""A conversion that can be sabotaged: real net, real interpreters, any calibration, any file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeward.convert.artifact.lint import describe
from edgeward.convert.drift.metrics import OutputDrift, measure_drift
from edgeward.convert.export.exporter import Exporter
from edgeward.convert.layers.compare import layer_drift
from edgeward.convert.measure.measure import describe_artifact
from edgeward.convert.model.load import load_model
from edgeward.convert.samples.suspicion import suspicions
from edgeward.convert.settings import OLDEST
from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.backends import open_backend
from edgeward.runtime.predictor import Runner
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.runtime.samples import Samples

# What the 1,500 test digits of the committed subset can prove.
BUDGET = 0.015
# Samples that the layers are compared on.
FEW = 24


@dataclass(frozen=True)
class Outcome:
    """What became of one sabotaged artifact.

    Attributes:
        drift: Its drift against the float model.
        doubts: What looked wrong with its calibration samples.
        layer: Where and why the signal is lost, by the comparison layer by layer.
    """

    drift: OutputDrift
    doubts: tuple[str, ...]
    layer: str

    @property
    def causes(self) -> str:
        """All causes found, as one text."""
        return "; ".join((*self.doubts, self.layer)).strip("; ")


class Workbench:
    """Converts one model with any calibration samples, and judges any file of it.

    Args:
        source: Model, data and specs: one input, one output.
        folder: For files in between.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        (self.input,), (self.output,) = source.inputs, source.outputs
        self._folder = folder
        self._loaded = load_model(source.model, [self.input], [self.output])
        self._twins: dict[str, bytes] = {}
        self._float: dict[str, Floats] = {}

    def make(self, artifact_id: str, calibration: Array) -> bytes:
        """Convert with these raw calibration samples."""
        spec = self.source.inputs[self.input]
        samples = {self.input: preprocess_batch(spec, calibration, self.source.vocabularies)}
        maker = Exporter(self._loaded, samples, OLDEST, self._folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorFlow's own
            return maker.make(artifact_id)[0]

    def twin(self, artifact_id: str) -> bytes:
        """Return the float32 artifact of the same format."""
        format_ = artifact_id.partition("-")[0]
        if format_ not in self._twins:
            few = self.source.calibration.inputs[self.input][:2]
            self._twins[format_] = self.make(f"{format_}-fp32", np.asarray(few))
        return self._twins[format_]

    def values(
        self, artifact_id: str, data: bytes, source: Source | None = None
    ) -> Mapping[str, Floats]:
        """Run a file on the test split, through the preprocessing of the source."""
        source = source or self.source
        artifact = describe_artifact(
            *(artifact_id, "file", data, describe(artifact_id, data, None)), stateful=False
        )
        runner = Runner(
            *(artifact, open_backend(artifact, data)),
            *(source.inputs, source.outputs, source.vocabularies),
        )
        return runner.values(runner.invoke_batch(source.test.inputs))

    def judge(
        self, artifact_id: str, data: bytes, calibration: Samples, *, layers: bool = True
    ) -> Outcome:
        """Judge a file as the pipeline does, and look for the cause of its drift."""
        format_ = artifact_id.partition("-")[0]
        if format_ not in self._float:
            twin = self.twin(artifact_id)
            self._float[format_] = self.values(f"{format_}-fp32", twin)[self.output]
        drift = measure_drift(
            self.output,
            self.source.outputs[self.output],
            self._float[format_],
            self.values(artifact_id, data)[self.output],
            self.source.test.targets[self.output],
            BUDGET,
        )
        return Outcome(
            drift,
            tuple(suspicions(self.source, calibration, [])),
            self._culprit(artifact_id, data) if layers else "",
        )

    def _culprit(self, artifact_id: str, data: bytes) -> str:
        few = np.asarray(self.source.test.inputs[self.input])[:FEW]
        spec = self.source.inputs[self.input]
        feeds = {self.input: preprocess_batch(spec, few, self.source.vocabularies)}
        worst = layer_drift(artifact_id, data, self.twin(artifact_id), feeds).culprit
        return "" if worst is None else worst.sentence
