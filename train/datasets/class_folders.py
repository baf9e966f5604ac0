"""A folder with one sub-folder per class: finding the files, before anything is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.train.datasets.cache import Say

__all__ = ["FOLDER", "find_classes", "group_of", "name_some"]

# ``group=folder``: CLASS/GROUP/file instead of CLASS/file.
FOLDER = "folder"


def find_classes(path: Path, say: Say, group: str = "") -> dict[str, list[Path]]:
    """Return class name -> files, both sorted.

    Args:
        path: The folder.
        group: With ``folder`` a class holds folders, one per group, and those hold the files.
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
            files = _files(entry, group == FOLDER)
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
            fix="--set group=folder, if it is a person, a recording or a scene that must not be "
            "in two splits",
        )


def _files(folder: Path, grouped: bool) -> list[Path]:
    entries = sorted(folder.iterdir())
    if not grouped:
        return entries
    stray = [one for one in entries if not one.is_dir() and not one.name.startswith(".")]
    if stray:
        raise InvalidDataError(
            "A file is in no group.",
            received=stray[0],
            expected="CLASS/GROUP/file, as --set group=folder says",
        )
    folders = [one for one in entries if one.is_dir() and not one.name.startswith(".")]
    return [file for one in folders for file in sorted(one.iterdir())]


def group_of(file: Path, group: str) -> str:
    """Return the group of a file; the same name in two classes is the same group.

    Args:
        file: Its path.
        group: ``folder`` for the name of the folder that holds it; else a regular expression that
            is searched in the file's name, whose bracket, or whole match, is the group.

    Raises:
        UsageError: The expression is none, or has several brackets.
        InvalidDataError: It is not found in the file's name.
    """
    if group == FOLDER:
        return file.parent.name
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UsageError(
            "group is no regular expression.",
            received=f"{group!r}: {error}",
            expected=f"{FOLDER!r}, or what finds the group in a file's name, such as '^([^_]+)_'",
        ) from None
    if pattern.groups > 1:
        raise UsageError(
            "group has several brackets.", received=repr(group), expected="one: (...); (?:...)"
        )
    found = pattern.search(file.name)
    if found is None or not found.group(pattern.groups):
        raise InvalidDataError(
            "A file's name does not tell its group.",
            received=file,
            expected=f"a name in which {group!r} is found",
            fix="rename the file, or change --set group=...",
        )
    return found.group(pattern.groups)


def name_some(paths: Sequence[Path]) -> str:
    """Return the first three paths and the number of the others, for a message."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(str(path) for path in paths[:3]) + more
