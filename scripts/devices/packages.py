"""Python packages for a device: wheels of another architecture, and this repository's own."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeward.runtime.errors import EdgewardError, MissingExtraError
from scripts.devices.cache import built

__all__ = ["own_package", "pinned", "pip", "wheels_for"]

REPOSITORY = Path(__file__).resolve().parents[2]
# What the wheel is made of. Not the folder itself: setuptools would leave its build/ in it, and
# take files from there that no longer exist.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "edgeward", "scripts/shims")
# Debian 12 has glibc 2.36. pip wants each tag spelled out.
NEWEST_GLIBC, OLDEST_GLIBC = 36, 17


def pinned(distribution: str) -> str:
    """Return ``NAME==VERSION`` of what is installed here: a device is compared like with like.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return f"{distribution}=={importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError(distribution, "dev") from None


def pip(*arguments: object) -> None:
    """Run pip.

    Raises:
        EdgewardError: It failed.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EdgewardError(
            "pip cannot install what a device needs.",
            received="\n    ".join(done.stderr.strip().splitlines()[-4:]),
            expected=" ".join(command[3:]),
            fix="see that pip can install packages on this machine",
        )


def wheels_for(machine: str, requirements: Sequence[str], into: Path) -> None:
    """Install wheels of another architecture, without what they depend on.

    Args:
        machine: As wheels name it: ``aarch64``, ``armv7l``.
        requirements: Pinned.
        into: The folder to put on PYTHONPATH.

    Raises:
        EdgewardError: There is no such wheel.
    """
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    platforms = [
        word for tag in (*tags, f"manylinux2014_{machine}") for word in ("--platform", tag)
    ]
    options = ("--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:")
    pip("install", "--quiet", "--no-deps", "--target", into, *platforms, *options, *requirements)


def own_package() -> Path:
    """Return a folder with this repository's package installed from its own wheel."""
    files = [REPOSITORY / "pyproject.toml", *sorted((REPOSITORY / "runtime").rglob("*.py"))]
    content = [[str(f.relative_to(REPOSITORY)), _hash(f)] for f in files]
    return built("edgeward", content, _build_own)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _build_own(folder: Path) -> None:
    sources = folder / "sources"
    sources.mkdir()
    skipped = shutil.ignore_patterns("__pycache__", "*.npz")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, sources / name, ignore=skipped)
        else:
            shutil.copy(source, sources / name)
    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist", sources)
    (wheel,) = (folder / "dist").glob("edgeward-*.whl")
    pip("install", "--quiet", "--no-deps", "--target", folder / "site", wheel)
    shutil.rmtree(sources)
    shutil.rmtree(folder / "dist")
