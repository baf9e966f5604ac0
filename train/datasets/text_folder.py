"""A user's own texts: a folder with one sub-folder per class and one file per text."""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path

from edgeward.runtime.errors import InvalidDataError
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.class_folders import find_classes, group_of
from edgeward.train.datasets.split import Shares
from edgeward.train.datasets.texts import LabelledText, TextDataset, split_texts

__all__ = ["NAME", "load"]

NAME = "text_folder"
# A book is about this long: above it somebody means something else.
_MAX_BYTES = 1_000_000


def load(path: Path, words: int, shares: Shares, say: Say, group: str = "") -> TextDataset:
    """Load texts as raw samples: ``text``, N texts as bytes; ``label`` int64 [N] of 0 and 1.

    Args:
        path: The folder; its sub-folders in alphabetical order are the negative and the positive
            class.
        words: Lines of the vocabulary at most, with the two reserved ones.
        shares: Parts of each class that validate and test.
        say: Told what was read and what was left out.
        group: How a file tells its group, see ``class_folders.group_of``: no group is in two
            splits. Empty: each text stands for itself.

    Raises:
        UsageError: ``group`` is no pattern.
        InvalidDataError: Not two classes, a class too small, or a file that is no UTF-8 text;
            names the file.
    """
    classes = find_classes(path, say, group)
    if len(classes) != 2:
        raise InvalidDataError(
            "The model tells two classes apart.",
            received=f"{len(classes)} sub-folders in {path}: {', '.join(classes)}",
            expected="2 sub-folders, one per class",
        )
    negative, positive = classes
    texts: list[LabelledText] = []
    digest = hashlib.sha256()
    for index, (label, files) in enumerate(classes.items()):
        for file in files:
            text = _read(file)
            texts.append(LabelledText(text, index, group_of(file, group) if group else ""))
            # The length too, or else two texts and their sum would be the same.
            digest.update(f"{label}\n{len(text)}\n".encode() + text)
    say(f"Data: {len(texts):,} texts of the classes {negative!r} and {positive!r} from {path}.")
    return split_texts(
        NAME, str(path), digest.hexdigest(), texts, (negative, positive), shares, words, say
    )


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidDataError(f"{file} cannot be read.", received=error.strerror) from None
    if len(data) > _MAX_BYTES:
        raise InvalidDataError(
            f"{file} is too long.", expected=f"one text, at most {_MAX_BYTES:,} bytes"
        )
    try:
        data.decode()
    except UnicodeError as error:
        raise InvalidDataError(
            f"{file} is no UTF-8 text.", received=error, fix="save it as UTF-8 or take it out"
        ) from None
    # Windows editors put a mark in front, which would become part of the first word.
    return data.removeprefix(codecs.BOM_UTF8)
