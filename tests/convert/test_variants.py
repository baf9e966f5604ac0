"""Which artifacts are planned, what cannot be had, and what a crash costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeward.convert.formats import FORMATS
from edgeward.convert.settings import OLDEST
from edgeward.convert.source.open import open_source
from edgeward.convert.variants import (
    FLOAT32,
    INT8_MIXED,
    INT16X8,
    VARIANTS,
    ArtifactId,
    artifact_ids,
    plan,
    rank,
    with_float_edges,
)
from edgeward.convert.worker import conversion
from edgeward.convert.worker.conversion import convert_all
from edgeward.convert.worker.job import CALIBRATION, Job
from edgeward.convert.worker.memory import default_memory
from edgeward.runtime.artifact import ARTIFACT_VARIANTS
from edgeward.runtime.errors import ConverterError, TargetError, UsageError


def test_int8_alone_brings_the_float_twins_along() -> None:
    ids, missing = plan(["int8"], ["onnx", "tflite"])
    assert ids == ["tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8"]
    assert missing == {}


def test_everything_lists_what_is_made_and_what_no_format_has() -> None:
    ids, missing = plan([], ["tflite", "onnx"], everything=True)
    assert len(ids) == 10
    assert set(missing) == {"onnx-int8-floatio", "onnx-int16x8"}
    for artifact_id in ids:
        # The manifest's closed list says the same of each.
        variant = ArtifactId.parse(artifact_id).variant.id
        assert variant.removesuffix("-floatio") == ARTIFACT_VARIANTS[artifact_id]
    assert all("tflite only" in why for why in missing.values())
    assert plan([], ["tflite"], everything=True) == (ids[:6], {})


def test_variant_that_no_asked_format_has_is_an_error() -> None:
    with pytest.raises(TargetError, match="int16x8"):
        plan(["int16x8"], ["onnx"])
    ids, missing = plan(["int16x8"], ["onnx", "tflite"])
    assert "tflite-int16x8" in ids
    assert list(missing) == ["onnx-int16x8"]


@pytest.mark.parametrize(
    ("variants", "formats"), [(["int4"], ["tflite"]), (["int8"], ["coreml"]), ([], ["onnx"])]
)
def test_unknown_names_are_usage_errors(variants: list[str], formats: list[str]) -> None:
    with pytest.raises(UsageError, match="Unknown"):
        plan(variants, formats)


def test_each_variant_says_what_it_costs() -> None:
    assert all(len(variant.trade_off) > 10 for variant in VARIANTS.values())


# ---- ids


def test_an_id_says_format_variant_file_and_float_twin() -> None:
    artifact = ArtifactId.parse("tflite-int8-mixed")
    assert artifact == ArtifactId(FORMATS["tflite"], INT8_MIXED)
    assert (str(artifact), artifact.file) == ("tflite-int8-mixed", "tflite-int8-mixed.tflite")
    assert str(artifact.twin) == "tflite-fp32"
    assert artifact.twin.twin == artifact.twin


def test_every_id_is_in_the_contract_and_comes_back_from_its_text() -> None:
    ids = artifact_ids()
    # The C format is in the contract, and not made here.
    assert {*map(str, ids)} == {*ARTIFACT_VARIANTS} - {"c-int8"}
    assert [ArtifactId.parse(str(artifact)) for artifact in ids] == ids
    assert len({artifact.file for artifact in ids}) == len(ids)


@pytest.mark.parametrize(
    "text", ["", "tflite", "int8", "tflite-", "tflite-int4", "coreml-int8", "TFLITE-int8", "c-int8"]
)
def test_text_that_is_no_id_raises(text: str) -> None:
    with pytest.raises(UsageError, match="no such artifact"):
        ArtifactId.parse(text)


def test_variant_that_a_format_does_not_have_makes_no_id() -> None:
    with pytest.raises(UsageError, match="onnx has no int16x8"):
        ArtifactId.parse("onnx-int16x8")
    with pytest.raises(UsageError, match="onnx has no int16x8"):
        ArtifactId(FORMATS["onnx"], INT16X8)
    assert str(ArtifactId(FORMATS["onnx"], FLOAT32)) == "onnx-fp32"


def test_the_float_twin_of_each_format_comes_first() -> None:
    ids = ["onnx-int8", "tflite-int8-mixed", "onnx-fp32", "tflite-int8", "tflite-fp32"]
    assert sorted(ids, key=rank) == [
        *("tflite-fp32", "tflite-int8", "tflite-int8-mixed", "onnx-fp32", "onnx-int8")
    ]
    with pytest.raises(UsageError):
        rank("tflite-int4")


def test_float_edges_are_those_of_the_same_arithmetic() -> None:
    assert with_float_edges("tflite-int8") == "tflite-int8-floatio"
    for same in ("tflite-int8-floatio", "tflite-int16x8", "onnx-int8", "tflite-dynamic"):
        assert with_float_edges(same) == same


# ---- what cannot be made


IDS = ["tflite-fp32", "tflite-int8", "onnx-fp32"]
Worker = Callable[..., dict[str, str]]


class Crashing:
    """Stands for the worker: dies at one artifact, makes the others."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.jobs: list[list[str]] = []

    def __call__(
        self, folder: Path, *, timeout: float, on_event: Any, memory: int, program: str
    ) -> dict[str, str]:
        job = Job.read(folder)
        self.jobs.append(job.artifacts)
        for artifact_id in job.artifacts:
            on_event({"stage": "convert", "artifact": artifact_id})
            if artifact_id == self.at:
                raise ConverterError("The converter crashed.", received="killed by SIGSEGV")
            on_event({"made": artifact_id, "size": 1, "stateful": False})
        return {"tensorflow": "2"}


def run_all(run: Path, folder: Path, tolerant: bool, memory: int = 0) -> conversion.Conversion:
    (folder / CALIBRATION).write_bytes((run / "calibration.npz").read_bytes())
    return convert_all(
        folder,
        open_source(run).job(IDS, tolerant=tolerant, memory=memory, switches=OLDEST),
        timeout=100,
        progress=lambda line: None,
    )


def test_crash_costs_one_artifact_and_not_the_others(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Crashing("tflite-int8")
    monkeypatch.setattr(conversion, "run_worker", worker)
    found = run_all(run, tmp_path, tolerant=True)
    assert list(found.made) == ["tflite-fp32", "onnx-fp32"]
    assert "SIGSEGV" in found.missing["tflite-int8"]
    assert worker.jobs == [IDS, ["onnx-fp32"]]


def test_crash_is_an_error_where_one_artifact_was_asked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "run_worker", Crashing("tflite-int8"))
    with pytest.raises(ConverterError, match="SIGSEGV"):
        run_all(run, tmp_path, tolerant=False)


def test_worker_that_may_take_no_memory_is_an_error_and_not_the_end_of_the_machine(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConverterError, match="load TensorFlow"):
        run_all(run, tmp_path, tolerant=True, memory=50 * 2**20)
    # The twin: what a machine has is enough.
    assert default_memory() > 2**30
