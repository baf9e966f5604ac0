"""Data loaded once for many trainings, and again only where a hyper-parameter asks for others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.recipe import Hyperparameters, Recipe

__all__ = ["LoadOnce"]


class LoadOnce:
    """A ``Recipe.load`` that answers from memory as long as the data would be the same.

    ``forecast_lstm`` cuts windows of ``window`` years, ``mnist_mlp`` looks at no hyper-parameter;
    ``Recipe.data_parameters`` says which ones matter. To load for each trial would always be right,
    but decoding a folder of photographs takes minutes. Only the data of the last call are kept.

    Args:
        recipe: Loads, and says what its data depend on.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._kept: _Kept | None = None

    def __call__(self, path: Path | None, hyper: Hyperparameters, say: Say) -> Dataset:
        """Return the data set, from memory where path and data parameters are those before."""
        values = self._recipe.of_data(hyper)
        kept = self._kept
        if kept is None or (kept.path, kept.values) != (path, values):
            kept = _Kept(path, values, self._recipe.load(path, hyper, say))
            self._kept = kept
        return kept.dataset


@dataclass(frozen=True)
class _Kept:
    """A loaded data set, and what it was loaded from."""

    path: Path | None
    values: Mapping[str, Any]
    dataset: Dataset
