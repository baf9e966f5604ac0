"""A search loads data again for the hyper-parameters that the recipe declares, and no others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edgeward.train.datasets import fashion, image_folder, mnist, reviews, sunspots, table
from edgeward.train.datasets import text_folder as texts
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.recipe import Hyperparameters, Recipe
from edgeward.train.recipes import NAMES, load_recipe, mnist_gan
from edgeward.train.search.load_once import LoadOnce


@dataclass(frozen=True)
class Own(Hyperparameters):
    units: int = 8
    mode: str = "a"


def counting(digits: Dataset, names: tuple[str, ...] | None) -> LoadOnce:
    """Data sets whose name is how often they were loaded."""
    loads: list[Any] = []

    def load(path: Path | None, hyper: Any, say: object) -> Dataset:
        assert type(hyper) is Own
        loads.append(hyper)
        return replace(digits, name=f"{len(loads)}")

    mlp = load_recipe("mnist_mlp")
    return LoadOnce(replace(mlp, load=load, hyperparameters=Own(), data_parameters=names))


def test_data_are_loaded_again_only_for_declared_hyperparameters(digits: Dataset) -> None:
    once = counting(digits, ("mode",))
    names = [once(None, h, print).name for h in (Own(), Own(units=9), Own(mode="b"), Own())]
    assert names == ["1", "1", "2", "3"]
    assert once(Path("elsewhere"), Own(), print).name == "4"
    never = counting(digits, ())
    assert {never(None, h, print).name for h in (Own(), Own(units=9), Own(mode="b"))} == {"1"}


def test_who_does_not_declare_gets_other_data_for_every_other_value(digits: Dataset) -> None:
    once = counting(digits, None)
    every = (Own(), Own(units=9), Own(mode="b"), Own(epochs=2))
    assert [once(None, h, print).name for h in every] == ["1", "2", "3", "4"]
    # The very same values are the very same data.
    assert once(None, Own(epochs=2), print).name == "4"


class Watched:
    """Hyper-parameters that remember which of them were read."""

    def __init__(self, hyper: Hyperparameters) -> None:
        self._hyper = hyper
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._hyper, name)


def read_by(recipe: Recipe) -> set[str]:
    hyper = Watched(recipe.hyperparameters)
    for path in (None, Path("somewhere")):
        recipe.load(path, hyper, lambda line: None)
    return hyper.read


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from the disk or the network: what counts is what ``load`` hands on."""
    for module in (fashion, image_folder, mnist, reviews, sunspots, table, texts):
        monkeypatch.setattr(module, "load", lambda *arguments: None)
    monkeypatch.setattr(mnist_gan, "pair_with_noise", lambda *arguments: None)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_declares_what_its_loading_reads(name: str, no_data: None) -> None:
    recipe = load_recipe(name)
    assert read_by(recipe) == set(recipe.data_parameters)


def test_a_hyperparameter_that_is_read_and_not_declared_is_found(no_data: None) -> None:
    recipe = load_recipe("forecast_lstm")
    forgetful = replace(recipe, data_parameters=("window",))
    assert read_by(forgetful) - set(forgetful.data_parameters) == {"headroom"}
