"""Data loaded once for many trainings, and again only where a hyper-parameter asks for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.recipe import Hyperparameters

__all__ = ["LoadOnce"]


class LoadOnce:
    """A ``Recipe.load`` that answers from memory as long as the data would be the same.

    Which hyper-parameters loading depends on is written nowhere: ``forecast_lstm`` cuts windows of
    ``window`` years, ``mnist_mlp`` looks at none. To load for each trial would always be right, but
    decoding a folder of photographs takes minutes. So this watches which ones ``load`` reads. Only
    the data of the last call are kept.

    Args:
        load: The recipe's own.
    """

    def __init__(self, load: Callable[[Path | None, Any, Say], Dataset]) -> None:
        self._load = load
        self._dataset: Dataset | None = None
        self._seen: tuple[Path | None, dict[str, Any]] = (None, {})

    def __call__(self, path: Path | None, hyper: Hyperparameters, say: Say) -> Dataset:
        """Return the data set, from memory where path and all values read last time are equal."""
        values = hyper.to_json()
        before, seen = self._seen
        same = before == path and all(values[name] == value for name, value in seen.items())
        if self._dataset is None or not same:
            read: set[str] = set()
            self._dataset = self._load(path, _watched(hyper, read), say)
            self._seen = (path, {name: values[name] for name in sorted(read)})
        return self._dataset


def _watched(hyper: Hyperparameters, read: set[str]) -> Hyperparameters:
    """Return a copy that adds the name of each value taken from it to ``read``."""
    names = frozenset(hyper.to_json())

    def get(self: Hyperparameters, name: str) -> Any:
        # Who takes all values at once takes each.
        read.update(names if name == "__dict__" else names & {name})
        return object.__getattribute__(self, name)

    kind = type(type(hyper).__name__, (type(hyper),), {"__getattribute__": get})
    copy: Hyperparameters = object.__new__(kind)
    object.__getattribute__(copy, "__dict__").update(vars(hyper))
    return copy
