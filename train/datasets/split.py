"""Splits by hash: equal samples never straddle them, and the same data split the same way."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeward.runtime.errors import InvalidDataError, UsageError

__all__ = ["Shares", "split_class"]


@dataclass(frozen=True)
class Shares:
    """Parts of a data set that are not trained on.

    Args:
        validation: Part that validates, above 0.
        test: Part that tests, above 0.

    Raises:
        UsageError: Nothing would be left to train on.
    """

    validation: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        whole = self.validation + self.test
        if not (self.validation > 0 and self.test > 0 and whole < 1):
            raise UsageError(
                "The shares of the splits are wrong.",
                received=f"validation {self.validation}, test {self.test}",
                expected="two numbers above 0 whose sum is below 1",
            )


def split_class(keys: Sequence[str], shares: Shares, where: str) -> dict[str, list[int]]:
    """Split samples that belong together (one class) by what they contain.

    Args:
        keys: One per sample; samples of one key go into one split.
        shares: Parts that validate and test.
        where: What is split, for messages.

    Returns:
        ``train``, ``validation``, ``test`` -> indices into ``keys``, ascending. Parts are counted
        in distinct keys; each split has at least one.

    Raises:
        InvalidDataError: Fewer than 3 distinct samples.
    """
    order = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    if len(order) < 3:
        raise InvalidDataError(
            f"{where} has too few samples that differ.",
            received=len(order),
            expected="at least 3, one for each of training, validation and test split",
        )
    test = min(max(1, math.floor(len(order) * shares.test)), len(order) - 2)
    validation = min(max(1, math.floor(len(order) * shares.validation)), len(order) - test - 1)
    bounds = {"test": order[:test], "validation": order[test : test + validation]}
    place = {key: split for split, chosen in bounds.items() for key in chosen}
    result: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for index, key in enumerate(keys):
        result[place.get(key, "train")].append(index)
    return result
