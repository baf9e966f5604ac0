"""Locks between processes, kept by the system: one that dies, however it dies, holds none.

They are advisory, of the standard library alone. Windows has no ``fcntl``: every lock is granted
there, without a word.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["LOCK", "locked", "take_lock"]

# The file in a folder that ``take_lock`` locks.
LOCK = "lock"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock of a folder or a file, and hold it in the body.

    Args:
        path: A folder, which is locked itself; else a file, which is made where it is missing.

    Raises:
        OSError: The path cannot be opened, or its file system knows no locks.
    """
    system = _system()
    if system is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        system.flock(descriptor, system.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def take_lock(folder: Path, *, make: bool) -> int | None:
    """Take the lock of a folder without waiting; it is held until its descriptor is closed.

    Args:
        folder: The file ``lock`` in it is locked.
        make: Make that file where it is missing; else there is no lock without it.

    Returns:
        The descriptor; None where another process has the lock, or the folder is gone. On file
        systems that know no locks each is granted.
    """
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o644)
    except OSError:
        return None
    system = _system()
    if system is None:
        return descriptor
    free = True
    try:
        system.flock(descriptor, system.LOCK_EX | system.LOCK_NB)
    except BlockingIOError:
        free = False
    except OSError:
        pass  # a file system that knows no locks
    with contextlib.suppress(FileNotFoundError):
        # Somebody may have swept the folder between open and lock.
        if free and os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    os.close(descriptor)
    return None


def _system() -> Any | None:
    try:
        return importlib.import_module("fcntl")
    except ImportError:
        return None
