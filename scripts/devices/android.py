"""Android's own TensorFlow Lite, the library that is in the package, on three processors.

On this machine the app's own code runs it: its logic and ``TfliteModel.java``, on a JVM. On
emulated ARM, 64 and 32 bit, Python does, by the library's C API. None of them is a phone: Android
around it, its screen and its drivers are not there.
"""

from __future__ import annotations

import base64
import functools
import json
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.artifact import Artifact
from edgeward.runtime.files import sha256_file
from edgeward.runtime.self_test import Check
from edgeward.runtime.tasks import evaluate_all
from scripts.android import jvm, toolchain
from scripts.devices import bionic
from scripts.devices.cache import built
from scripts.devices.emulate import run
from scripts.devices.host import fitting
from scripts.devices.judge import runner_of
from scripts.devices.roots import ROOTS
from scripts.devices.subject import Device, Measured, Subject, measured_by

__all__ = ["HERE", "RUNTIME", "THERE", "devices"]

RUNTIME = "android-tflite"
HERE = f"x86-64 {RUNTIME}, the app's code"
THERE = {name: f"{name} {RUNTIME}" for name in ROOTS}
PROBE = Path(__file__).with_name("android_probe.py")
API = "tensorflow-lite-api.aar"
JAVA = jvm.MAIN / "main" / "java" / "edgeward" / "demo" / "TfliteModel.java"
HARNESS = jvm.MAIN / "test" / "java" / "edgeward" / "demo" / "OnThisMachine.java"
MAIN = "edgeward.demo.OnThisMachine"


def devices() -> list[Device]:
    """Return all, as far as what they need has been fetched (scripts/android/setup.sh).

    It is another version than any that measured, with kernels of its own: ``max_lsb`` holds.
    """
    baseline = "host ai-edge-litert"
    found = []
    if not bionic.missing():
        if toolchain.cached(API) and not jvm.absent():
            found.append(Device(HERE, "android", RUNTIME, _with_the_app, baseline))
        for machine, name in THERE.items():
            measure = functools.partial(_emulated, machine=machine)
            found.append(Device(name, "android", RUNTIME, measure, baseline))
    return found


def _emulated(subject: Subject, *, machine: str) -> list[Measured]:
    out = subject.folder / f"android-{machine}.npz"
    folder = bionic.libraries(machine)
    arguments = (PROBE, subject.bundle.path, subject.file, out, subject.seconds)
    libraries = (folder, *bionic.LIBRARIES, bionic.LIBRARY)
    # Of that Python's interpreters none is used.
    done = run(machine, "tflite", *arguments, *libraries, timeout=subject.timeout)
    return measured_by(done, out, fitting(subject, "tflite"))


# ---- the app's own code


def _with_the_app(subject: Subject) -> list[Measured]:
    samples = subject.folder / "samples.jsonl"
    samples.write_text("\n".join(_lines(subject)), encoding="utf-8")
    folder = bionic.libraries("x86_64")
    command = [
        *("java", f"-Djava.library.path={folder}", "-cp", ":".join(map(str, _classes())), MAIN),
        *(folder, ",".join(bionic.LIBRARIES), subject.bundle.path, samples, subject.seconds),
    ]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=subject.timeout,
    )
    known = {artifact.id: artifact for artifact in subject.bundle.manifest.artifacts}
    if done.returncode:
        problem = f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"
        return [Measured(id_, error=problem) for id_ in fitting(subject, "tflite")]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [_measured(subject, known[answer["artifact"]], answer) for answer in answers]


def _lines(subject: Subject) -> Iterator[str]:
    for i in range(len(subject.samples)):
        sample = {name: jvm.raw_json(column[i]) for name, column in subject.samples.inputs.items()}
        yield json.dumps(sample)


def _measured(subject: Subject, artifact: Artifact, answer: Mapping[str, Any]) -> Measured:
    if "error" in answer:
        return Measured(artifact.id, error=answer["error"])
    outputs = {
        tensor.name: np.frombuffer(
            base64.b64decode(answer["outputs"][tensor.name]), np.dtype(tensor.dtype)
        ).reshape(answer["samples"], *tensor.shape[1:])
        for tensor in artifact.outputs
    }
    check = Check(artifact=artifact.id, runtime=answer["runtime"], **answer["check"])
    found = Measured(artifact.id, answer["runtime"], answer["nanos"] / 1e9, check, outputs)
    targets = subject.samples.targets
    if not targets:
        return found
    values = runner_of(subject, artifact, found).values(outputs)
    first = {name: column[: answer["samples"]] for name, column in targets.items()}
    metrics = evaluate_all(subject.bundle.manifest.outputs, values, first)
    return Measured(artifact.id, found.runtime, found.seconds, check, outputs, metrics)


@functools.cache
def _classes() -> Sequence[Path]:
    """Return what the JVM needs: the app, compiled where it is not in the cache, and the AARs."""
    sources = (*jvm.SOURCES, JAVA, HARNESS)
    recipe = [sha256_file(source) for source in (Path(__file__), *sources)]
    folder = built("app-on-this-machine", recipe, functools.partial(_compile, sources))
    return [folder / "classes", folder / "tensorflow-lite.jar", folder / "tensorflow-lite-api.jar"]


def _compile(sources: Sequence[Path], folder: Path) -> None:
    jars = []
    for aar in (bionic.AAR, API):
        jars.append(folder / Path(aar).with_suffix(".jar"))
        with zipfile.ZipFile(toolchain.path(aar)) as archive:
            jars[-1].write_bytes(archive.read("classes.jar"))
    jvm.compile_sources(folder, sources, *jars)
