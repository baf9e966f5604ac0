"""The user's cache folder: files that are verified each time they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeward.runtime.files import write_atomic

__all__ = ["KnownFile", "Say", "cache_folder", "read_cached", "write_cache"]

# How the data sets tell people what they do: one line per call, without a line end.
Say = Callable[[str], None]


@dataclass(frozen=True)
class KnownFile:
    """A file whose content is known.

    Args:
        name: File name.
        size: Length in bytes.
        md5: What the world publishes for it.
        sha256: What keeps somebody from making another file of the same md5.
    """

    name: str
    size: int
    md5: str
    sha256: str

    def matches(self, data: bytes) -> bool:
        """Tell whether ``data`` is this file, byte for byte."""
        return (
            len(data) == self.size
            and hashlib.md5(data, usedforsecurity=False).hexdigest() == self.md5
            and hashlib.sha256(data).hexdigest() == self.sha256
        )


def cache_folder(dataset: str) -> Path:
    """Return the cache folder of a data set: below ``$EDGEWARD_DATA``, else the user's cache."""
    root = os.environ.get("EDGEWARD_DATA")
    if root:
        return Path(root).expanduser() / dataset
    user = os.environ.get("XDG_CACHE_HOME")
    base = Path(user) if user else Path.home() / ".cache"
    return base / "edgeward" / dataset


def read_cached(folder: Path, files: tuple[KnownFile, ...], say: Say) -> dict[str, bytes] | None:
    """Read all files from the cache.

    Args:
        folder: From ``cache_folder``.
        files: What must be there.
        say: Told in one line when the cache is damaged.

    Returns:
        Content by name, each verified; None if a file is missing or damaged.
    """
    contents: dict[str, bytes] = {}
    for file in files:
        try:
            data = (folder / file.name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            say(f"Cache {folder} cannot be read ({error.strerror}): fetching again.")
            return None
        if not file.matches(data):
            say(f"Cached file {folder / file.name} is damaged: fetching again.")
            return None
        contents[file.name] = data
    return contents


def write_cache(folder: Path, contents: Mapping[str, bytes], say: Say) -> None:
    """Write verified files to the cache, each whole or not at all.

    A cache that cannot be written (read-only home, full disk) costs time at the next run, not
    this one: it is said in one line.
    """
    try:
        for name, data in contents.items():
            write_atomic(folder / name, data)
    except OSError as error:
        say(f"Cache {folder} cannot be written ({error.strerror}): going on without it.")
