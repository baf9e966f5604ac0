"""A bundle to the assets of the Android app: what the app can run of it, verified, in one step.

python -m edgeward.convert.bundle.android BUNDLE ASSETS
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeward.convert.bundle.write import check_target, write_bundle
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.console import guarded
from edgeward.runtime.errors import TargetError, UsageError
from edgeward.runtime.golden import Golden
from edgeward.runtime.manifest import Artifact, Manifest, lowest_version

__all__ = ["BUNDLES", "check_assets", "export_assets", "main"]

# The app lists this folder of its assets and opens each bundle in it.
BUNDLES = "bundles"

_OPTION = "--android DIR"


def check_assets(assets: Path, name: str) -> None:
    """Check, before minutes of work, that a bundle may be exported; nothing is made for it.

    Args:
        assets: The app's assets folder, there or not.
        name: Name of the bundle.

    Raises:
        UsageError: Something is in the way, or cannot be written to.
    """
    target = assets / BUNDLES / name
    # What is not there yet has to be made in the first folder above that is; a broken link is.
    there = next(path for path in (target, *target.parents) if os.path.lexists(path))
    if there == target:
        check_target(target, _OPTION)
        return
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UsageError(
            "The Android assets cannot be written there.",
            received=f"{there}: {error.strerror}",
            expected="a folder that can be written to, or that can be made",
            fix=f"choose another folder, as android_demo/app/src/main/assets: {_OPTION}",
        ) from None


def export_assets(
    bundle: Path | str | Bundle, assets: Path, artifacts: Sequence[str] | None = None
) -> Path:
    """Copy a bundle into ``assets/bundles/NAME``, where the app opens it.

    The copy is a bundle again, with its own SHA256SUMS, and the app verifies all of it. Left out
    is what no phone can run or needs: ONNX and C files with their golden vectors, and the reports.
    The files that stay, stay byte for byte; ``manifest.json`` and ``golden.json`` lose the entries
    of what is gone.

    Args:
        bundle: The bundle; every file of it is checked first.
        assets: The app's assets folder, as ``android_demo/app/src/main/assets``; made if missing.
        artifacts: Ids of the TFLite artifacts to take; None takes all.

    Returns:
        The folder written. What was there under this name is replaced in one step, or stays.

    Raises:
        InvalidBundleError: The bundle is damaged.
        TargetError: It holds no TFLite artifact.
        UsageError: There is no such artifact, or something that is no bundle is in the way.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    opened.verify()
    manifest = opened.manifest
    wanted = [manifest.artifact(one) for one in artifacts or [a.id for a in manifest.artifacts]]
    kept = [artifact for artifact in manifest.artifacts if artifact in wanted]
    kept = [artifact for artifact in kept if artifact.format == "tflite"]
    if not kept:
        raise TargetError(
            "The app runs TFLite files, and the bundle holds none of those asked for.",
            received=[artifact.id for artifact in wanted],
            expected="an artifact such as tflite-int8",
            fix="convert with --format tflite",
        )
    smaller = dataclasses.replace(
        manifest,
        artifacts=tuple(kept),
        default=_default(manifest, kept),
        format_version=lowest_version(kept),
    )
    golden = opened.golden()
    ids = {artifact.id for artifact in kept}
    expected = [entry for entry in golden.expected if entry.artifact in ids]
    files = {
        "manifest.json": smaller.to_bytes(),
        "golden.json": Golden(golden.inputs, expected).to_bytes(),
        **opened.vocabularies(),
        **{artifact.file: opened.artifact_bytes(artifact) for artifact in kept},
    }
    if (opened.path / "labels.txt").exists():
        files["labels.txt"] = opened.read("labels.txt")
    target = assets / BUNDLES / manifest.name
    check_target(target, _OPTION)
    write_bundle(target, files)
    return target


def _default(manifest: Manifest, kept: Sequence[Artifact]) -> str:
    ids = [artifact.id for artifact in kept]
    # int8 is what a phone is meant to run.
    return next((one for one in (manifest.default, "tflite-int8") if one in ids), ids[0])


def main(arguments: Sequence[str]) -> int:
    """Export a bundle and return the exit code."""
    return guarded("to_android", lambda: _export(arguments))


def _export(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        raise UsageError(
            "Which bundle, and where to?", received=list(arguments), expected="BUNDLE ASSETS"
        )
    print(f"assets: {export_assets(arguments[0], Path(arguments[1]))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
