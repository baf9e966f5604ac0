"""Splits by group: what comes from one person, recording or scene is in one split.

A model that has seen a person recognises that person, and is judged by it: 100 % there may be
chance on new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.split import Shares

__all__ = ["GroupSplit", "split_groups"]

_SPLITS = ("train", "validation", "test")
# What a class that is missing from a split costs, beside squared deviations of at most 1: a model
# cannot answer what it was not trained on, and a test says more than a validation.
_MISSING = np.array([100.0, 5.0, 10.0])
_MOST_MOVES = 200
_SHOWN = 5
_WITHOUT = {"train": "trains", "validation": "validates", "test": "tests"}


@dataclass(frozen=True)
class GroupSplit:
    """Where samples go.

    Args:
        places: ``train``, ``validation``, ``test`` -> indices of samples, ascending.
        notes: What to tell, already said.
    """

    places: Mapping[str, list[int]]
    notes: tuple[str, ...]


def split_groups(
    groups: Sequence[str],
    keys: Sequence[str],
    classes: Sequence[int],
    shares: Shares,
    labels: Sequence[str] | None,
    where: str,
    say: Say,
) -> GroupSplit:
    """Split samples so that no group, and no content, is in two splits.

    The shares of each class are kept as well as whole groups can: they are placed one by one,
    largest first, where they bring the shares nearest, then moved as long as that helps. The same
    data split the same way; the seed of a training has no part in it.

    Args:
        groups: One per sample.
        keys: What each sample contains. Groups that share content are one.
        classes: Class index of each sample; all 0 for a regression.
        shares: Parts that validate and test.
        labels: Names of the classes; None for a regression.
        where: What is split, for messages.
        say: Told the number of groups in each split, and what whole groups cannot do.

    Raises:
        InvalidDataError: Fewer than 3 groups, or a split would tell nothing.
    """
    units = _unite(groups, keys)
    names = sorted(set(units), key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(names) < len(_SPLITS):
        raise InvalidDataError(
            f"{where} has too few groups that share no sample.",
            received=f"{len(names)}: {', '.join(names)}",
            expected="at least 3, one for each of training, validation and test split",
            fix="data of more persons, recordings or scenes; or another --set group=...",
        )
    at = {name: i for i, name in enumerate(names)}
    unit = np.array([at[name] for name in units])
    counts = np.zeros((len(names), max(classes) + 1))
    np.add.at(counts, (unit, np.asarray(classes)), 1)
    place = _place(
        counts, np.array([1 - shares.validation - shares.test, shares.validation, shares.test])
    )
    held = np.stack([counts[place == i].sum(axis=0) for i in range(len(_SPLITS))])
    _refuse_mute(held, labels, where)
    number = len(set(groups))
    merged = number - len(names)
    parts = ", ".join(f"{split} {(place == i).sum():,}" for i, split in enumerate(_SPLITS))
    equal = f"; {merged:,} are one with others that hold equal samples" if merged else ""
    notes = [f"Data: {number:,} groups, none in two splits: {parts}{equal}."]
    notes += _missing(held, counts, names, labels)
    for note in notes:
        say(note)
    places = {split: np.flatnonzero(place[unit] == i).tolist() for i, split in enumerate(_SPLITS)}
    return GroupSplit(places, tuple(notes))


def _unite(groups: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return for each sample the name of its group, after groups that share a key became one."""
    parent = {name: name for name in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[str, str] = {}
    for group, key in zip(groups, keys, strict=True):
        one, other = root(group), root(first.setdefault(key, group))
        # The smaller name, so that the order of the samples does not matter.
        parent[max(one, other)] = min(one, other)
    return [root(group) for group in groups]


def _place(counts: Array, shares: Array) -> Array:
    """Return the split of each unit, int64 [units] of 0 (train), 1 (validation), 2 (test).

    Args:
        counts: Samples of each unit and class, float64 [units, classes].
        shares: Wanted parts, float64 [3].
    """
    total = np.maximum(counts.sum(axis=0), 1)
    wanted = shares[:, None] * total
    held = np.zeros_like(wanted)
    place = np.zeros(len(counts), np.int64)

    def cost(numbers: Array, missing: Array) -> Array:
        """Return the cost of [..., splits, classes] for each split, [..., splits]."""
        lacking = (numbers < 0.5) & (counts.sum(axis=0) > 0)
        each = np.square((numbers - wanted) / total) + missing[:, None] * lacking
        return np.asarray(each.sum(axis=-1))

    # Stable: units of one size stay in the order of their hashes.
    for i in np.argsort(-counts.sum(axis=1), kind="stable"):
        gain = cost(held + counts[i], np.zeros(3)) - cost(held, np.zeros(3))
        place[i] = int(gain.argmin())
        held[place[i]] += counts[i]
    for _ in range(_MOST_MOVES):
        now = cost(held, _MISSING)
        put = cost(held + counts[:, None, :], _MISSING) - now
        taken = cost(held - counts[:, None, :], _MISSING) - now
        change = put + taken[np.arange(len(counts)), place][:, None]
        change[np.arange(len(counts)), place] = 0.0
        i, to = np.unravel_index(int(change.argmin()), change.shape)
        if change[i, to] > -1e-9:
            break
        held[place[i]] -= counts[i]
        held[to] += counts[i]
        place[i] = to
    return place


def _refuse_mute(held: Array, labels: Sequence[str] | None, where: str) -> None:
    """Refuse a split without samples, and of classes one that holds a single one."""
    least = 1 if labels is None else 2
    for split, numbers in zip(_SPLITS, held, strict=True):
        classes = np.flatnonzero(numbers)
        if len(classes) >= least:
            continue
        found = "no sample"
        if labels is not None and len(classes):
            found = f"the class {labels[classes[0]]!r} alone"
        raise InvalidDataError(
            f"{where}: split by group, the {split} split would tell nothing.",
            received=found,
            expected="samples" if labels is None else "at least 2 classes in each split",
            fix="samples of each class from at least 3 groups; if each class is one group, then "
            "--set group=... names the class",
        )


def _missing(
    held: Array, counts: Array, names: Sequence[str], labels: Sequence[str] | None
) -> list[str]:
    """Return a note for each class that is missing from a split."""
    if labels is None:
        return []
    notes = []
    for index, label in enumerate(labels):
        lacking = [s for s, numbers in zip(_SPLITS, held, strict=True) if not numbers[index]]
        if not lacking:
            continue
        homes = [names[i] for i in np.flatnonzero(counts[:, index])]
        more = ", ..." if len(homes) > _SHOWN else ""
        notes.append(
            f"Data: class {label!r} lives in {len(homes)} group{'s' * (len(homes) > 1)} "
            f"({', '.join(homes[:_SHOWN])}{more}): no sample of it "
            f"{' or '.join(_WITHOUT[split] for split in lacking)}, so its recall is not known "
            "there. Samples of it from 3 groups or more give it a place in each split."
        )
    return notes
