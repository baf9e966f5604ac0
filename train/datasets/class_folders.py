"""A folder with one sub-folder per class: finding the files, before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeward.runtime.errors import InvalidDataError
from edgeward.train.datasets.cache import Say

__all__ = ["find_classes", "name_some"]


def find_classes(path: Path, say: Say) -> dict[str, list[Path]]:
    """Return class name -> files, both sorted.

    Args:
        path: The folder.
        say: Told in one line each which files are left out: hidden ones, and those in no class.

    Raises:
        InvalidDataError: No such folder, fewer than two classes, an empty class, a class that
            holds folders, or a class name with a line end.
    """
    if not path.is_dir():
        raise InvalidDataError(
            "There is no such folder.", received=path, expected="one sub-folder per class"
        )
    hidden: list[Path] = []
    strays: list[Path] = []
    classes: dict[str, list[Path]] = {}
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            hidden.append(entry)
        elif not entry.is_dir():
            strays.append(entry)
        else:
            files = sorted(entry.iterdir())
            hidden += [file for file in files if file.name.startswith(".")]
            classes[entry.name] = [file for file in files if not file.name.startswith(".")]
    for what, found in (("hidden", hidden), ("in no class", strays)):
        if found:
            say(f"Data: left out as {what}: {name_some(found)}.")
    for label, files in classes.items():
        _check_class(path / label, files)
    if len(classes) < 2:
        raise InvalidDataError(
            "There is nothing to tell apart.",
            received=f"{len(classes)} class(es) in {path}: {', '.join(classes) or 'no sub-folder'}",
            expected="at least 2 sub-folders, one per class",
        )
    return classes


def _check_class(folder: Path, files: Sequence[Path]) -> None:
    if "\n" in folder.name or "\r" in folder.name:
        raise InvalidDataError(
            "A class has a line end in its name.", received=repr(folder.name), fix="rename it"
        )
    if not files:
        raise InvalidDataError(
            "A class is empty.", received=folder, fix="add files or remove the folder"
        )
    deeper = [file for file in files if file.is_dir()]
    if deeper:
        raise InvalidDataError(
            "A class holds a folder.",
            received=deeper[0],
            expected="files only: one sub-folder per class, not deeper",
        )


def name_some(paths: Sequence[Path]) -> str:
    """Return the first three paths and the number of the others, for a message."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(str(path) for path in paths[:3]) + more
