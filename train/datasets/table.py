"""A user's own table: a CSV file with a header, columns of numbers, and one column to predict."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.runtime.samples import Samples
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.csv_cells import Cells, is_number, read_cells
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.group_split import GroupSplit, split_groups
from edgeward.train.datasets.split import Shares, split_class

__all__ = ["NAME", "TASKS", "Scaling", "Table", "load"]

NAME = "table"
TASKS = ("auto", "classification", "regression")
# Whole numbers are classes up to so many different ones, with so many rows each.
_MOST_CLASSES = 20
_FEWEST_ROWS = 3


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of columns over the training split; 1 for a constant column."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, values: Floats) -> Scaling:
        """Return the scaling of float32 [N, columns]."""
        wide = values.astype(np.float64)
        deviation = wide.std(axis=0)
        deviation[deviation == 0] = 1.0
        return cls(tuple(wide.mean(axis=0).tolist()), tuple(deviation.tolist()))


@dataclass(frozen=True, kw_only=True)
class Table(Dataset):
    """A data set that brought its own columns.

    Args:
        columns: Names of the features, in the order of the input tensor.
        labels: Classes, sorted; None for a regression.
        features: Scaling of the features.
        target: Scaling of the target; None for classes.
    """

    columns: tuple[str, ...]
    labels: tuple[str, ...] | None
    features: Scaling
    target: Scaling | None


def load(
    path: Path | None,
    target: str,
    ignore: str,
    task: str,
    shares: Shares,
    say: Say,
    group: str = "",
) -> Table:
    """Load a table as raw samples: ``features`` float32 [N, F]; ``target`` int64 [N] or [N, 1].

    Rows of equal features go into one split, whatever their target is.

    Args:
        path: A CSV file in UTF-8 with a header.
        target: Name of the column to predict.
        ignore: Names of columns to leave out, with commas between them.
        task: ``classification``, ``regression``, or ``auto``: classes if the target is text, or
            at most 20 different whole numbers with 3 rows each.
        shares: Parts that validate and test; of each class, if there are classes.
        say: Told what was read.
        group: Name of the column that tells the person, the recording or the scene of each row:
            no group is in two splits, and the column is no feature. Empty: rows are independent.

    Raises:
        UsageError: No file, no target, or a column that does not exist.
        InvalidDataError: A value is missing or no number, a row is too long or too short, a
            feature is text, or there is nothing to learn; names line and column.
    """
    if path is None or not target:
        raise UsageError(
            "Which table, and which column of it is to be predicted?",
            received=f"--data {path}, target={target!r}",
            fix="python -m train table --data FILE.csv --set target=COLUMN",
        )
    cells = read_cells(path)
    columns = _choose_columns(cells, target, ignore, group)
    features = np.stack([cells.numbers(name) for name in columns], axis=1)
    labels, targets = _read_target(cells, target, task)
    where = f"{path}, column {target!r}"
    of_rows = cells.column(group) if group else []
    found = GroupSplit({}, ())
    if group:
        found = _split_by_group(of_rows, features, targets, labels, shares, str(path), say)
    rows = found.places or _split(features, targets, labels, shares, where)
    scaling = Scaling.of(features[rows["train"]])
    kind = "a number" if labels is None else f"one of {len(labels)} classes"
    say(f"Data: {len(features):,} rows of {path}, {len(columns)} features; {target} is {kind}.")

    def samples(split: str) -> Samples:
        return Samples({"features": features[rows[split]]}, {"target": targets[rows[split]]})

    return Table(
        name=NAME,
        source=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        train=samples("train"),
        validation=samples("validation"),
        test=samples("test"),
        groups={
            split: np.array([of_rows[i] for i in chosen]) for split, chosen in rows.items() if group
        },
        notes=found.notes,
        columns=tuple(columns),
        labels=labels,
        features=scaling,
        target=Scaling.of(targets[rows["train"]]) if labels is None else None,
    )


def _choose_columns(cells: Cells, target: str, ignore: str, group: str) -> list[str]:
    left_out = [name.strip() for name in ignore.split(",") if name.strip()]
    if group:
        left_out.append(group)
    if group == target:
        raise UsageError(
            "The column to predict cannot be the one of the groups.",
            received=f"target {target!r}, group {group!r}",
        )
    for name in (target, *left_out):
        if name not in cells.header:
            raise UsageError(
                f"{cells.path} has no such column.",
                received=name,
                expected=", ".join(cells.header),
            )
    columns = [name for name in cells.header if name not in (target, *left_out)]
    if not columns:
        raise UsageError(
            "There is no column to predict from.",
            received=f"target {target!r}, ignored {left_out}",
            expected="at least one column more",
        )
    return columns


def _read_target(cells: Cells, target: str, task: str) -> tuple[tuple[str, ...] | None, Array]:
    """Return the classes and the class of each row, or None and float32 [N, 1]."""
    texts = cells.column(target)
    numbers = [text for text in texts if is_number(text)]
    if task == "regression" or (task == "auto" and numbers and not _are_classes(texts, numbers)):
        return None, cells.numbers(target)[:, None]
    if len(numbers) == len(texts) and all(float(text).is_integer() for text in texts):
        values = [int(float(text)) for text in texts]
        ordered = [str(value) for value in sorted(set(values))]
        texts = [str(value) for value in values]
    else:
        ordered = sorted(set(texts))
    if len(ordered) < 2:
        raise InvalidDataError(
            f"{cells.path}: there is nothing to tell apart in column {target!r}.",
            received=f"{ordered[0]!r} in every row",
            expected="at least 2 classes",
        )
    unusable = [label for label in ordered if "\n" in label or "\r" in label]
    if unusable:
        raise InvalidDataError(
            f"{cells.path}: a class in column {target!r} has a line end in its name.",
            received=repr(unusable[0]),
        )
    index = {label: i for i, label in enumerate(ordered)}
    return tuple(ordered), np.array([index[text] for text in texts], np.int64)


def _are_classes(texts: Sequence[str], numbers: Sequence[str]) -> bool:
    # One number among texts, or one text among numbers, is a mistake to be named, not a class.
    if len(numbers) != len(texts) or not all(float(text).is_integer() for text in texts):
        return False
    counts = np.unique([float(text) for text in texts], return_counts=True)[1]
    return len(counts) <= _MOST_CLASSES and bool(counts.min() >= _FEWEST_ROWS)


def _split_by_group(
    groups: Sequence[str],
    features: Floats,
    targets: Array,
    labels: tuple[str, ...] | None,
    shares: Shares,
    where: str,
    say: Say,
) -> GroupSplit:
    keys = [hashlib.sha256(row.tobytes()).hexdigest() for row in features]
    classes = [0] * len(keys) if labels is None else targets.tolist()
    found = split_groups(groups, keys, classes, shares, labels, where, say)
    places = {
        split: sorted(chosen, key=lambda i: keys[i]) for split, chosen in found.places.items()
    }
    return GroupSplit(places, found.notes)


def _split(
    features: Floats,
    targets: Array,
    labels: tuple[str, ...] | None,
    shares: Shares,
    where: str,
) -> dict[str, list[int]]:
    keys = [hashlib.sha256(row.tobytes()).hexdigest() for row in features]
    classes = targets if labels is not None else np.zeros(len(features), np.int64)
    # Equal features in two classes: all go with the first, else they would straddle splits.
    first: dict[str, int] = {}
    groups = np.array([first.setdefault(key, int(c)) for key, c in zip(keys, classes, strict=True)])
    rows: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for group, label in enumerate(labels or ("",)):
        members = np.flatnonzero(groups == group).tolist()
        name = f"{where}, class {label!r}" if label else where
        for split, chosen in split_class([keys[i] for i in members], shares, name).items():
            rows[split] += [members[i] for i in chosen]
    # By hash, not as in the file, which may be sorted: any first part is a fair sample.
    return {split: sorted(chosen, key=lambda i: keys[i]) for split, chosen in rows.items()}
