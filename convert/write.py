"""Write a bundle beside the old one, check it with the runtime, then exchange the two."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from runtime.bundle import SUMS, Bundle
from runtime.errors import EdgewardError
from runtime.files import fsync_tree, render_sums, sha256_bytes

__all__ = ["previous_release", "write_bundle"]

AT_FDCWD = -100
RENAME_EXCHANGE = 2


def previous_release(path: Path) -> int:
    """Return the release of the bundle at ``path``; 0 where there is none that opens."""
    try:
        return Bundle.open(path).manifest.release
    except EdgewardError:
        return 0


def write_bundle(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a bundle in one step: whoever opens ``path`` sees the old one or the new one, whole.

    Args:
        path: The bundle's folder.
        files: File name -> content, without SHA256SUMS.

    Raises:
        InvalidBundleError: The new bundle does not pass the runtime's own check; the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    fresh = path.with_name(f".{path.name}.partial-{os.getpid()}")
    fresh.mkdir()
    try:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        sums = render_sums({name: sha256_bytes(data) for name, data in files.items()})
        (fresh / SUMS).write_bytes(sums)
        fsync_tree(fresh)
        Bundle.open(fresh).verify()
        _replace(fresh, path)
        fsync_tree(path)
    finally:
        # After an exchange this is the old bundle.
        shutil.rmtree(fresh, ignore_errors=True)


def _replace(fresh: Path, path: Path) -> None:
    if not path.exists():
        fresh.rename(path)
        shutil.rmtree(_previous(path), ignore_errors=True)
        return
    if _exchange(fresh, path):
        return
    # Two renames: a reader in between, or after a kill in between, finds `.NAME.previous`.
    previous = _previous(path)
    shutil.rmtree(previous, ignore_errors=True)
    path.rename(previous)
    try:
        fresh.rename(path)
    except OSError:
        previous.rename(path)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two folders with Linux's renameat2; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE) == 0)


def _sweep(path: Path) -> None:
    """Delete what a killed conversion to this bundle left behind."""
    pattern = re.compile(re.escape(f".{path.name}.partial-") + r"(\d+)")
    for entry in path.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match and not _alive(int(match[1])):
            shutil.rmtree(entry, ignore_errors=True)


def _alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        return pid != os.getpid()
    return False
