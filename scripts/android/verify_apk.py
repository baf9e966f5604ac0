"""What can be proven of an APK without a phone: signature, alignment, and its bundles in place."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from toolchain import MIN_API

from convert.to_android import BUNDLES
from runtime.bundle import Bundle
from runtime.files import sha256_file

__all__ = ["verify"]

ACTIVITY = "edgeward.demo.MainActivity"
ASSETS = f"assets/{BUNDLES}/"


def _tool(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"{command[0]} refuses the APK\n{done.stdout}{done.stderr}")
    return done.stdout


def verify(apk: Path) -> list[str]:
    """Check an APK.

    Returns:
        Lines that say what was seen.

    Raises:
        SystemExit: Something is wrong with it.
        InvalidBundleError: A bundle in it is damaged.
    """
    signed = _tool("apksigner", "verify", "--verbose", "--min-sdk-version", MIN_API, apk)
    schemes = [line for line in signed.splitlines() if line.endswith("): true")]
    if not any("v2 scheme" in line or "v3 scheme" in line for line in schemes):
        raise SystemExit(f"the APK has no signature of scheme 2 or 3\n{signed}")
    _tool("zipalign", "-c", "-p", 4, apk)
    badge = _tool("aapt", "dump", "badging", apk)
    for word in (f"sdkVersion:'{MIN_API}'", f"launchable-activity: name='{ACTIVITY}'"):
        if word not in badge:
            raise SystemExit(f"aapt does not see {word} in the APK\n{badge}")
    lines = [f"{apk.name}: {apk.stat().st_size:,} bytes, sha256 {sha256_file(apk)}", *schemes]
    with zipfile.ZipFile(apk) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        for name in ("AndroidManifest.xml", "classes.dex"):
            if name not in names:
                raise SystemExit(f"the APK lacks {name}")
        # A class is defined by its descriptor; the manifest names it, dots for slashes.
        if f"L{ACTIVITY.replace('.', '/')};".encode() not in archive.read("classes.dex"):
            raise SystemExit(f"classes.dex lacks {ACTIVITY}")
        libraries = [name for name in names if name.startswith("lib/")]
        lines += [f"{name}: {archive.getinfo(name).file_size:,} bytes" for name in libraries]
        for name in names:
            if name.endswith(".tflite") and archive.getinfo(name).compress_type:
                raise SystemExit(f"{name} is compressed")
        inside = [PurePosixPath(name) for name in names if name.startswith(ASSETS)]
        for path in inside:
            copy = Path(folder) / path.parts[2] / path.name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(archive.read(str(path)))
        for bundle in sorted(Path(folder).iterdir()):
            opened = Bundle.open(bundle)
            opened.verify()
            for artifact in opened.manifest.artifacts:
                lines.append(f"{bundle.name}/{artifact.file}: stored, sha256 {artifact.sha256}")
        if not inside:
            raise SystemExit("the APK holds no bundle")
    return lines


if __name__ == "__main__":
    print(*verify(Path(sys.argv[1])), sep="\n")
