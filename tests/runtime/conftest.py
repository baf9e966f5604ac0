"""Bundles that may be damaged, and a model made of Python in place of an interpreter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeward.runtime.artifact import Artifact, Drift, TensorSpec
from edgeward.runtime.files import render_sums, sha256_file
from edgeward.runtime.manifest import InputSpec, OutputSpec
from edgeward.runtime.predictor import Predictor, Runner
from edgeward.runtime.samples import Samples, load_samples


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the real bundle that a test may change."""
    folder = tmp_path / bundle.name
    shutil.copytree(bundle, folder)
    return folder


@pytest.fixture(scope="session")
def split(run: Path) -> Samples:
    """The real digits that the model has not seen."""
    return load_samples(run / "test.npz")


@pytest.fixture(scope="session")
def reseal() -> Callable[[Path], None]:
    """Write SHA256SUMS anew, as someone who tampers on purpose would."""

    def write(folder: Path) -> None:
        files = [path for path in folder.iterdir() if path.name != "SHA256SUMS"]
        sums = render_sums({path.name: sha256_file(path) for path in files})
        (folder / "SHA256SUMS").write_bytes(sums)

    return write


@pytest.fixture(scope="session")
def edit(reseal: Callable[[Path], None]) -> Callable[..., None]:
    """Change a JSON file of a bundle and seal it again: ``edit(folder, "golden.json", change)``."""

    def apply(folder: Path, name: str, change: Callable[[Any], None]) -> None:
        tree = json.loads((folder / name).read_bytes())
        change(tree)
        text = json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
        reseal(folder)

    return apply


class FakeBackend:
    """The seam: gives prepared outputs, or what a function makes of the inputs."""

    runtime = "fake"
    version = "1.0"

    def __init__(self, answer: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self.answer = answer
        self.seen: list[Mapping[str, Any]] = []

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.seen.append(inputs)
        return self.answer(inputs)


def tensor(name: str, dtype: str, shape: Sequence[int], quantised: bool = False) -> TensorSpec:
    return TensorSpec(
        name, f"{name}:0", (1, *shape), dtype, *((0.5, 3) if quantised else (None, None))
    )


@pytest.fixture(scope="session")
def fake_model() -> Callable[..., SimpleNamespace]:
    """Build a Runner and a Predictor around a function, without any file."""

    def build(
        answer: Callable[[Mapping[str, Any]], dict[str, Any]],
        inputs: dict[str, tuple[InputSpec, TensorSpec]],
        outputs: dict[str, tuple[OutputSpec, TensorSpec]],
        *,
        batch: str = "static",
        max_lsb: int = 0,
        vocabularies: Mapping[str, bytes] | None = None,
    ) -> SimpleNamespace:
        drift = tuple(
            Drift(name, spec.task, "m", None, None, None, None, 0.1, 0, "unverified", "fake")
            for name, (spec, _) in outputs.items()
        )
        artifact = Artifact(
            "tflite-fp32", "fake.tflite", 1, "0" * 64, "fp32",
            tuple(t for _, t in inputs.values()), tuple(t for _, t in outputs.values()),
            (), {}, batch, False, max_lsb, drift,
        )  # fmt: skip
        specs = SimpleNamespace(
            inputs={n: s for n, (s, _) in inputs.items()},
            outputs={n: s for n, (s, _) in outputs.items()},
        )
        backend = FakeBackend(answer)
        runner = Runner(artifact, backend, specs.inputs, specs.outputs, vocabularies)
        bundle: Any = SimpleNamespace(manifest=specs)
        return SimpleNamespace(
            runner=runner, backend=backend, predictor=Predictor(bundle, runner), artifact=artifact
        )

    return build


@pytest.fixture(scope="session")
def vector_model(fake_model: Callable[..., SimpleNamespace]) -> Callable[..., SimpleNamespace]:
    """A model with one float input of 3 values and one classification output of its own values."""

    def build(
        answer: Callable[[Any], Any] = lambda x: x, dtype: str = "float32", **more: Any
    ) -> SimpleNamespace:
        spec = InputSpec("tensor", "float32", (3,), ())
        out = OutputSpec("classification", ("a", "b", "c"))
        return fake_model(
            lambda inputs: {"y": np.asarray(answer(inputs["x"]))},
            {"x": (spec, tensor("x", "float32", [3]))},
            {"y": (out, tensor("y", dtype, [3], dtype != "float32"))},
            **more,
        )

    return build
