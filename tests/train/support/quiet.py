"""A training in this process, without a word: for tests of recipes, not of the command line."""

from __future__ import annotations

from pathlib import Path

from edgeward.train.recipe import override
from edgeward.train.recipes import load_recipe
from edgeward.train.run import Run


class Silent:
    def say(self, line: str) -> None:
        pass

    def advance(self, epoch: int, step: int, steps: int, losses: object) -> None:
        pass

    def epoch(self, row: object, epochs: int) -> None:
        pass


def train_quietly(name: str, out: Path, data: Path, **changes: object) -> Run:
    """Train a recipe with some hyper-parameters changed; returns the run."""
    from edgeward.train.options import Options
    from edgeward.train.pipeline import train

    recipe = load_recipe(name)
    hyper = override(recipe.hyperparameters, changes)
    trained = train(recipe, hyper, Options(out=out, data=data, device="cpu"), Silent())
    assert trained is not None
    return Run.open(trained.path)
