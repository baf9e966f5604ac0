"""Write a bundle beside the old one, check it with the runtime, then exchange the two."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgeward.convert.variants import artifact_ids
from edgeward.runtime.bundle import SUMS, Bundle
from edgeward.runtime.errors import EdgewardError, UsageError
from edgeward.runtime.files import fsync_tree, render_sums, sha256_bytes, write_atomic

__all__ = [
    "REPORTS",
    "check_target",
    "previous_release",
    "refusal_of",
    "remove_refusal",
    "write_bundle",
    "write_refusal",
]

AT_FDCWD = -100

RENAME_EXCHANGE = 2

REPORTS = ("report.html", "report.json")


def check_target(path: Path, option: str = "--out DIR") -> None:
    """Check, before any work, that a bundle may be written to ``path``.

    Args:
        path: The bundle's folder.
        option: What names another place, for the message.

    Raises:
        UsageError: There is something there that is no bundle, and that replacing it would delete;
            or its folder cannot be written to.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(
            "The bundle would replace something that is no folder.",
            received=path,
            expected="a bundle, or nothing",
            fix=f"name the real folder: {option}",
        )
    if path.is_dir():
        names = {entry.name for entry in path.iterdir()}
        if names and not {SUMS, "manifest.json"} <= names:
            raise UsageError(
                "The bundle would replace a folder that is no bundle, and delete what is in it.",
                received=f"{path} with {', '.join(sorted(names)[:5])}",
                expected="a bundle, an empty folder, or nothing",
                fix=f"choose another folder: {option}",
            )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(
            "The bundle cannot be written there.",
            received=f"{path.parent}: {error.strerror}",
            fix=f"choose another folder: {option}",
        ) from None


def refusal_of(path: Path) -> Path:
    """Return where the report of a refusal goes that would have become the bundle ``path``."""
    return path.with_name(f"{path.name}.refused")


def write_refusal(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write what a refused conversion leaves: reports, and artifacts that no runtime opens there.

    Args:
        folder: The folder beside the bundle.
        files: File name -> content, without SHA256SUMS.
    """
    remove_refusal(folder)
    for name, data in files.items():
        write_atomic(folder / name, data)
    # Last: without it, nothing here is used again.
    sums = render_sums({name: sha256_bytes(data) for name, data in files.items()})
    write_atomic(folder / SUMS, sums)


def remove_refusal(folder: Path) -> None:
    """Delete what an earlier refusal left, and nothing that is not of this project."""
    if folder.is_dir() and not folder.is_symlink():
        for name in (SUMS, *REPORTS, *(artifact.file for artifact in artifact_ids())):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


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
