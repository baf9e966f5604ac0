"""Run the self-test in Python and record what the interpreter gave, for the app to answer with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from java_cases import array_json

from runtime.arrays import Array
from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.predictor import Runner
from runtime.selftest import check_runner

__all__ = ["Change", "Outputs", "Recorder", "opening", "play", "same"]

Outputs = dict[str, Array]
Change = Callable[[Outputs], Outputs]


class Recorder:
    """A backend that remembers what went in and what came out, changed on purpose."""

    runtime = "android-tflite"
    version = "2.16.1"

    def __init__(self, answer: Callable[[Mapping[str, Array]], Outputs], change: Change) -> None:
        self._answer, self._change = answer, change
        self.calls: list[dict[str, Any]] = []

    def run(self, inputs: Mapping[str, Array]) -> Outputs:
        outputs = self._change({name: v.copy() for name, v in self._answer(inputs).items()})
        self.calls.append(
            {
                "inputs": {name: array_json(value) for name, value in inputs.items()},
                "outputs": {name: array_json(value) for name, value in outputs.items()},
            }
        )
        return outputs


def play(
    bundle: Bundle,
    record: Path,
    change: Change = lambda outputs: outputs,
    samples: tuple[Any, ...] = (),
    answer: Callable[[Mapping[str, Array]], Outputs] | None = None,
) -> dict[str, Any]:
    """Run the self-test and samples in Python, record every call; returns artifact -> check."""
    golden, manifest = bundle.golden(), bundle.manifest
    checks: dict[str, Any] = {}
    calls: dict[str, Any] = {}
    for artifact in manifest.artifacts:
        if artifact.format != "tflite":
            continue
        real = answer or open_backend(artifact, bundle.artifact_bytes(artifact)).run
        recorder = Recorder(real, change)
        runner = Runner(
            artifact, recorder, manifest.inputs, manifest.outputs, bundle.vocabularies()
        )
        reference = golden.reference(artifact, recorder.runtime, recorder.version)
        assert reference is not None
        checks[artifact.id] = asdict(check_runner(runner, golden, reference))
        if artifact.id == manifest.default:
            for sample in samples:
                runner.invoke({next(iter(manifest.inputs)): sample})
        calls[artifact.id] = recorder.calls
    written = {"runtime": Recorder.runtime, "version": Recorder.version, "artifacts": calls}
    record.write_text(json.dumps(written))
    return checks


def opening(bundle: Bundle, record: Path) -> dict[str, Any]:
    return {"op": "open", "folder": str(bundle.path), "record": str(record)}


FIELDS = ("verdict", "compared_with", "lsb", "max_lsb", "differing", "values", "flips")


def same(answer: dict[str, Any], checks: dict[str, Any]) -> bool:
    assert "error" not in answer, answer
    return {id_: {f: check[f] for f in FIELDS} for id_, check in checks.items()} == {
        id_: answer[id_] for id_ in checks
    }
