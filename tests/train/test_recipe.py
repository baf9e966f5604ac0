"""A recipe declares what its data depend on and what shifts its images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from edgeward.runtime.errors import UsageError
from edgeward.train.recipe import Hyperparameters, Recipe
from edgeward.train.recipes import load_recipe


@dataclass(frozen=True)
class Own(Hyperparameters):
    shift: int = 3
    wobble: int = 2


@dataclass(frozen=True)
class Still(Hyperparameters):
    wobble: int = 2


def recipe_of(hyper: Hyperparameters, **changes: Any) -> Recipe:
    return Recipe(
        name="own",
        title="",
        dataset="",
        load=load_recipe("mnist_mlp").load,
        build=load_recipe("mnist_mlp").build,
        inputs={},
        outputs={},
        hyperparameters=hyper,
        expected={},
        budget=0.1,
        **changes,
    )


def test_images_are_shifted_by_the_hyperparameter_that_the_recipe_names() -> None:
    assert recipe_of(Own()).pixels(Own(shift=1)) == 1
    assert recipe_of(Own(), shift="wobble").pixels(Own(shift=1)) == 2
    assert recipe_of(Own(), shift=None).pixels(Own(shift=1)) == 0
    assert recipe_of(Still()).pixels(Still()) == 0


def test_data_depend_on_what_is_declared_and_on_everything_where_nothing_is() -> None:
    assert recipe_of(Own(), data_parameters=("wobble",)).of_data(Own(epochs=2)) == {"wobble": 2}
    assert recipe_of(Own(), data_parameters=()).of_data(Own(epochs=2)) == {}
    assert recipe_of(Own()).of_data(Own(epochs=2)) == Own(epochs=2).to_json()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data_parameters": ("wobbel",)}, "data_parameters is wrong"),
        ({"data_parameters": "wobble"}, "data_parameters is wrong"),
        ({"shift": "wobbel"}, "shift is wrong"),
        ({"data_parameters": ("wobble",), "shift": "wobble"}, ""),
        ({"data_parameters": ["wobble"], "shift": None}, ""),
    ],
)
def test_a_name_that_is_no_hyperparameter_is_refused(changes: dict[str, Any], said: str) -> None:
    if not said:
        recipe_of(Own(), **changes)
        return
    with pytest.raises(UsageError, match=said) as caught:
        recipe_of(Own(), **changes)
    assert "epochs, batch_size, learning_rate, shift, wobble" in str(caught.value)


def test_declared_names_are_checked_when_the_hyperparameters_are_exchanged() -> None:
    with pytest.raises(UsageError, match="data_parameters"):
        replace(recipe_of(Own(), data_parameters=("shift",)), hyperparameters=Still())
