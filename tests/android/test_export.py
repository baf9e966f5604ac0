"""A bundle on its way to the app's assets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import REPOSITORY

from edgeward.convert.bundle.android import BUNDLES, export_assets
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import InvalidBundleError, TargetError
from edgeward.runtime.self_test import selftest


def test_export_keeps_what_the_app_runs_byte_for_byte(bundle: Path, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    whole = Bundle.open(bundle)
    copy = Bundle.open(export_assets(bundle, assets))
    copy.verify()
    assert copy.path == assets / "bundles" / whole.manifest.name
    ids = {artifact.id for artifact in whole.manifest.artifacts if artifact.format == "tflite"}
    assert {artifact.id for artifact in copy.manifest.artifacts} == ids
    assert {entry.artifact for entry in copy.golden().expected} == ids
    for artifact in copy.manifest.artifacts:
        assert artifact == whole.manifest.artifact(artifact.id)
        assert copy.artifact_bytes(artifact) == whole.artifact_bytes(artifact)
    kept = {path.name for path in copy.path.iterdir()}
    assert "labels.txt" in kept
    assert not any(name.endswith((".onnx", ".html")) for name in kept)
    one = Bundle.open(export_assets(bundle, assets, ["tflite-int8"]))
    assert [artifact.id for artifact in one.manifest.artifacts] == ["tflite-int8"]


def test_export_refuses_a_damaged_bundle_and_keeps_the_old_copy(
    bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / bundle.name
    shutil.copytree(bundle, folder)
    old = export_assets(folder, tmp_path / "assets")
    before = sorted((path.name, path.read_bytes()) for path in old.iterdir())
    data = bytearray((folder / "tflite-int8.tflite").read_bytes())
    data[1000] ^= 1
    (folder / "tflite-int8.tflite").write_bytes(data)
    with pytest.raises(InvalidBundleError, match=r"tflite-int8\.tflite is damaged"):
        export_assets(folder, tmp_path / "assets")
    assert sorted((path.name, path.read_bytes()) for path in old.iterdir()) == before


def test_export_says_when_there_is_nothing_for_the_app(bundle: Path, tmp_path: Path) -> None:
    onnx = [a.id for a in Bundle.open(bundle).manifest.artifacts if a.format == "onnx"]
    with pytest.raises(TargetError, match="TFLite"):
        export_assets(bundle, tmp_path, onnx)


def test_assets_of_the_repository_are_a_whole_bundle_that_answers_its_golden_vectors() -> None:
    shipped = REPOSITORY / "android_demo" / "app" / "src" / "main" / "assets" / BUNDLES
    for folder in sorted(shipped.iterdir()):
        Bundle.open(folder).verify()
    checks = selftest(shipped / "mnist_edge")
    assert checks
    assert {check.verdict for check in checks} <= {"exact", "within tolerance"}
