"""What the Android package is built from: Debian's tools, and files of Maven kept in the cache.

Where packages come from is the machine's own business (apt's sources, Maven's settings.xml); here
are only names, versions and hashes. Standard library alone, so that ``setup.sh`` can run it before
there is an environment.

    python scripts/android/toolchain.py            fetch what is missing
    python scripts/android/toolchain.py missing    print the Debian packages that are missing
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CACHE",
    "FRAMEWORK",
    "MAVEN",
    "MIN_API",
    "TARGET_API",
    "TFLITE",
    "absent",
    "cached",
    "fetch",
    "missing",
    "path",
]

TFLITE = "2.16.1"
MIN_API = 24
TARGET_API = 34
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"


def _cache() -> Path:
    """Return the cache folder, by the rule of train/datasets/cache.py."""
    root = os.environ.get("EDGEWARD_DATA")
    if root:
        return Path(root).expanduser() / "android"
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "edgeward" / "android"


CACHE = _cache()


@dataclass(frozen=True)
class MavenFile:
    """A file of Maven: its coordinates group:name:version:type, and what it must hash to."""

    coordinates: str
    sha256: str


MAVEN = {
    # Classes of the interpreter, and its native libraries.
    "tensorflow-lite.aar": MavenFile(
        f"org.tensorflow:tensorflow-lite:{TFLITE}:aar",
        "34b065817e294e7dd3569504e8b9454938ceae453b6a459da54d5f6e45d3c94e",
    ),
    "tensorflow-lite-api.aar": MavenFile(
        f"org.tensorflow:tensorflow-lite-api:{TFLITE}:aar",
        "885b95bc9e47a4aa5cf8e71523aed9b05e397cfef1ea09773f13fea8b649fcee",
    ),
    # Stubs of Android 4.1: what compiles against them is in every later Android as well.
    "android.jar": MavenFile(
        "com.google.android:android:4.1.1.4:jar",
        "84072541cbb711eff89f7277100ff854929a446dba7ceb1b195c340e0b4fd3cb",
    ),
    # D8, the compiler of Java classes to Android's.
    "r8.jar": MavenFile(
        "com.android.tools:r8:8.5.35:jar",
        "4733945987ee0a840fafc34080b135259e01678412e07212b23f706334290294",
    ),
    # The java.* that Android 7 has: javac alone would let through what came later.
    "api.signature": MavenFile(
        f"net.sf.androidscents.signature:android-api-level-{MIN_API}:7.0_r2:signature",
        "5466455b986e3c4f399d77526282ea67e5c4e564d0f290a56baaf433f17d4437",
    ),
    "animal-sniffer.jar": MavenFile(
        "org.codehaus.mojo:animal-sniffer:1.23:jar",
        "a175ba9f939bca4b7066961842507dd5d25ad4236249c13cfbd3407ae436dedd",
    ),
    "asm.jar": MavenFile(
        "org.ow2.asm:asm:9.4:jar",
        "39d0e2b3dc45af65a09b097945750a94a126e052e124f93468443a1d0e15f381",
    ),
}
# Program -> the Debian package it is in.
PROGRAMS = {
    "javac": "default-jdk-headless",
    "mvn": "maven",
    "aapt": "aapt",
    "zipalign": "zipalign",
    "apksigner": "apksigner",
}


def missing() -> list[str]:
    """Return the Debian packages that are not installed."""
    packages = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    return packages + ([] if FRAMEWORK.is_file() else ["android-framework-res"])


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def cached(name: str) -> bool:
    """Tell whether a file of MAVEN is in the cache and is what it should be."""
    file = CACHE / name
    return file.is_file() and _sha256(file) == MAVEN[name].sha256


def absent() -> list[str]:
    """Return everything that a package cannot be built without and that is not here."""
    return missing() + [name for name in MAVEN if not cached(name)]


def path(name: str) -> Path:
    """Return the path of a file of MAVEN, verified; it must have been fetched."""
    if not cached(name):
        raise SystemExit(f"{name} is missing or damaged: bash scripts/android/setup.sh fetches it")
    return CACHE / name


def fetch(name: str) -> None:
    """Fetch a file of MAVEN into the cache, with Maven's own client and settings."""
    known = MAVEN[name]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["mvn", "--quiet", "--batch-mode", COPY, f"-Dartifact={known.coordinates}",
             f"-DoutputDirectory={folder}"],
            check=True, timeout=600, cwd=folder,
        )  # fmt: skip
        (found,) = Path(folder).iterdir()
        if _sha256(found) != known.sha256:
            raise SystemExit(f"{known.coordinates} is not the file it was: {_sha256(found)}")
        CACHE.mkdir(parents=True, exist_ok=True)
        # Beside its place and then renamed: the cache never holds half a file.
        fresh = CACHE / f".{name}.{os.getpid()}"
        shutil.copyfile(found, fresh)
        fresh.replace(CACHE / name)


def main() -> None:
    """Fetch what is missing, or say which packages are."""
    if sys.argv[1:] == ["missing"]:
        print(*missing())
        return
    for name in MAVEN:
        if not cached(name):
            print(f"fetching {MAVEN[name].coordinates}", flush=True)
            fetch(name)
    print(f"the Android toolchain is complete: {CACHE}")


if __name__ == "__main__":
    main()
