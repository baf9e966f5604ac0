"""What can be proven of an APK without a phone: signature, alignment, and its bundles in place."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgeward.convert.bundle.android import BUNDLES
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.console import guarded
from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.files import parse_sums, sha256_file
from scripts.android.toolchain import MIN_API

__all__ = ["changed_files", "unpack", "verify"]

ACTIVITY = "edgeward.demo.MainActivity"
ASSETS = f"assets/{BUNDLES}/"


def _tool(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}"[-3000:]
        raise EdgewardError(f"{command[0]} refuses the APK.", received=said)
    return done.stdout


def verify(apk: Path) -> list[str]:
    """Check an APK.

    Returns:
        Lines that say what was seen.

    Raises:
        EdgewardError: Something is wrong with it.
        InvalidBundleError: A bundle in it is damaged.
    """
    signed = _tool("apksigner", "verify", "--verbose", "--min-sdk-version", MIN_API, apk)
    schemes = [line for line in signed.splitlines() if line.endswith("): true")]
    if not any("v2 scheme" in line or "v3 scheme" in line for line in schemes):
        raise EdgewardError("The APK has no signature of scheme 2 or 3.", received=signed)
    _tool("zipalign", "-c", "-p", 4, apk)
    badge = _tool("aapt", "dump", "badging", apk)
    for word in (f"sdkVersion:'{MIN_API}'", f"launchable-activity: name='{ACTIVITY}'"):
        if word not in badge:
            raise EdgewardError(f"aapt does not see {word} in the APK.", received=badge)
    lines = [f"{apk.name}: {apk.stat().st_size:,} bytes, sha256 {sha256_file(apk)}", *schemes]
    with zipfile.ZipFile(apk) as archive:
        names = archive.namelist()
        for name in ("AndroidManifest.xml", "classes.dex"):
            if name not in names:
                raise EdgewardError(f"The APK lacks {name}.")
        # A class is defined by its descriptor; the manifest names it, dots for slashes.
        if f"L{ACTIVITY.replace('.', '/')};".encode() not in archive.read("classes.dex"):
            raise EdgewardError(f"classes.dex lacks {ACTIVITY}.")
        libraries = [name for name in names if name.startswith("lib/")]
        lines += [f"{name}: {archive.getinfo(name).file_size:,} bytes" for name in libraries]
        for name in names:
            if name.endswith(".tflite") and archive.getinfo(name).compress_type:
                raise EdgewardError(f"{name} is compressed.")
    with tempfile.TemporaryDirectory() as folder:
        for bundle in unpack(apk, Path(folder)):
            bundle.verify()
            lines += [
                f"{bundle.path.name}/{artifact.file}: stored, sha256 {artifact.sha256}"
                for artifact in bundle.manifest.artifacts
            ]
    return lines


def unpack(apk: Path, folder: Path) -> list[Bundle]:
    """Unpack the bundles of an APK to ``folder`` and open them.

    Raises:
        EdgewardError: There are none.
        InvalidBundleError: One is damaged.
    """
    with zipfile.ZipFile(apk) as archive:
        inside = [PurePosixPath(n) for n in archive.namelist() if n.startswith(ASSETS)]
        for path in inside:
            copy = folder / path.parts[2] / path.name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(archive.read(str(path)))
    if not inside:
        raise EdgewardError("The APK holds no bundle.")
    return [Bundle.open(path) for path in sorted(folder.iterdir())]


def changed_files(inside: Bundle, source: Bundle) -> tuple[list[str], int]:
    """Compare a bundle in an APK with the one that it was made from.

    ``manifest.json`` and ``golden.json`` lose what no phone can run; of these, all that is left
    must be what it was. Every other file must have the hash that it has in the source.

    Returns:
        The files that differ or are not in the source, and the number of those compared.
    """
    known = parse_sums((source.path / "SHA256SUMS").read_bytes())
    found = parse_sums((inside.path / "SHA256SUMS").read_bytes())
    trees = ("manifest.json", "golden.json")
    changed = [name for name in found if name not in trees and found[name] != known.get(name)]
    for name in trees:
        ours, theirs = (json.loads((b.path / name).read_bytes()) for b in (inside, source))
        changed += [] if _left_over(ours, theirs) else [name]
    lost = {a.file for a in source.manifest.artifacts if a.format == "tflite"} - set(found)
    return sorted({*changed, *lost}), len(found) + len(lost)


def _left_over(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Tell whether two trees are equal but for entries that one has lost, and the default."""
    lists = ("artifacts", "expected")
    same = {k: v for k, v in ours.items() if k not in (*lists, "default")} == {
        k: v for k, v in theirs.items() if k not in (*lists, "default")
    }
    return same and all(entry in theirs[name] for name in lists for entry in ours.get(name, []))


def main() -> int:
    """Verify and say what was seen."""
    print(*verify(Path(sys.argv[1])), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("verify_apk", main))
