"""Run a bundle in Python and record what the interpreter gave, for the app to answer with."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.backends import open_backend
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import InvalidBundleError, InvalidDataError
from edgeward.runtime.predictor import Runner
from edgeward.runtime.self_test import Check, check_runner
from edgeward.runtime.tasks import Decoded, decode
from scripts.android.jvm import array_json, raw_json

__all__ = [
    "Answer",
    "Change",
    "Outputs",
    "Played",
    "Recorder",
    "Sample",
    "answering",
    "opening",
    "play",
    "same_checks",
    "tensors_hash",
]

Outputs = dict[str, Array]
Change = Callable[[Outputs], Outputs]
Sample = Mapping[str, Array | bytes]

# What the app's interpreter calls itself, which no golden vector was measured in.
APP = ("android-tflite", "2.16.1")


@dataclass(frozen=True)
class Answer:
    """Python's answer to one sample.

    Attributes:
        handed: Hash of the tensors handed to the interpreter; empty where none were.
        outputs: Output name -> decoded output; empty where the sample was refused.
        refused: Why Python refused the sample.
    """

    handed: str = ""
    outputs: Mapping[str, Decoded] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True)
class Played:
    """What Python made of a bundle.

    Attributes:
        checks: Artifact id -> verdict on the golden vectors.
        answers: Answers of the default artifact to the samples, fewer where the time ran out.
    """

    checks: Mapping[str, Check]
    answers: Sequence[Answer]


class Recorder:
    """A backend that remembers what went in and what came out, changed on purpose.

    Args:
        answer: The interpreter.
        change: Changes what it gives.
        runtime: The name and the version it goes by.
    """

    def __init__(
        self,
        answer: Callable[[Mapping[str, Array]], Outputs],
        change: Change = lambda outputs: outputs,
        runtime: tuple[str, str] = APP,
    ) -> None:
        self._answer, self._change = answer, change
        self.runtime, self.version = runtime
        self.calls: dict[str, dict[str, Any]] = {}
        self.handed = ""

    def run(self, inputs: Mapping[str, Array]) -> Outputs:
        """See ``runtime.backends.Backend``."""
        outputs = self._change({name: v.copy() for name, v in self._answer(inputs).items()})
        self.handed = tensors_hash(inputs)
        self.calls[self.handed] = {name: array_json(value) for name, value in outputs.items()}
        return outputs


def tensors_hash(inputs: Mapping[str, Array]) -> str:
    """Return the hash of names, dtypes, shapes and bytes, as ``RecordedModel.java`` makes it."""
    whole = hashlib.sha256()
    for name, value in sorted(inputs.items()):
        whole.update(f"{name} {value.dtype.name} {list(value.shape)}\n".encode())
        whole.update(np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes())
    return whole.hexdigest()


def play(
    bundle: Bundle,
    record: Path,
    change: Change = lambda outputs: outputs,
    samples: Iterable[Sample] = (),
    interpreter: Callable[[Mapping[str, Array]], Outputs] | None = None,
    seconds: float = float("inf"),
    own_name: bool = False,
) -> Played:
    """Run the self-test and samples in Python, record every call.

    Args:
        bundle: The bundle as the app has it.
        record: The file to write for ``RecordedModel.java``.
        change: Changes what the interpreter gives.
        samples: Raw samples for the default artifact.
        interpreter: Answers in place of the one that is installed.
        seconds: For the samples; at least one is answered.
        own_name: The interpreter goes by its own name and not by the app's, so that the golden
            vectors measured in that very runtime are compared with.

    Raises:
        TargetError: The installed interpreter cannot load an artifact.
    """
    golden, manifest = bundle.golden(), bundle.manifest
    checks: dict[str, Check] = {}
    calls: dict[str, Any] = {}
    answers: list[Answer] = []
    runtime = APP
    for artifact in manifest.artifacts:
        if artifact.format != "tflite":
            continue
        if interpreter is None:
            backend = open_backend(artifact, bundle.artifact_bytes(artifact))
            runtime = (backend.runtime, backend.version) if own_name else APP
        recorder = Recorder(interpreter or backend.run, change, runtime)
        runner = Runner(
            artifact, recorder, manifest.inputs, manifest.outputs, bundle.vocabularies()
        )
        reference = golden.reference(artifact, *runtime)
        if reference is None:
            raise InvalidBundleError(f"golden.json has no outputs for {artifact.id}.")
        checks[artifact.id] = check_runner(runner, golden, reference)
        if artifact.id == manifest.default:
            answers = _answers(runner, recorder, samples, seconds)
        calls[artifact.id] = recorder.calls
    written = {"runtime": runtime[0], "version": runtime[1], "artifacts": calls}
    record.write_text(json.dumps(written), encoding="utf-8")
    return Played(checks, answers)


def _answers(
    runner: Runner, recorder: Recorder, samples: Iterable[Sample], seconds: float
) -> list[Answer]:
    answers: list[Answer] = []
    started = time.perf_counter()
    for sample in samples:
        if answers and time.perf_counter() - started >= seconds:
            break
        try:
            values = runner.values(runner.invoke(sample))
            outputs = {name: decode(runner.outputs[name], v[0]) for name, v in values.items()}
            answers.append(Answer(recorder.handed, outputs))
        except InvalidDataError as error:
            answers.append(Answer(refused=str(error)))
    return answers


def opening(bundle: Bundle, record: Path) -> dict[str, Any]:
    """Return the case in which the app opens a bundle, with what was recorded."""
    return {"op": "open", "folder": str(bundle.path), "record": str(record)}


def answering(sample: Sample) -> dict[str, Any]:
    """Return the case in which the app answers one raw sample."""
    return {"op": "answer", "sample": {name: raw_json(raw) for name, raw in sample.items()}}


FIELDS = ("verdict", "compared_with", "lsb", "max_lsb", "differing", "values", "flips", "crowded")


def same_checks(answer: Mapping[str, Any], checks: Mapping[str, Check]) -> bool:
    """Tell whether the app opened the bundle and has Python's verdicts, every number of them."""
    return "error" not in answer and all(
        answer.get(id_) == {name: asdict(check)[name] for name in FIELDS}
        for id_, check in checks.items()
    )
