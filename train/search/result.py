"""What a search found: the values to train with, and how it is said. No TensorFlow here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeward.runtime.errors import UsageError
from edgeward.runtime.strict_json import loads
from edgeward.train.arguments import COMMON
from edgeward.train.options import Options
from edgeward.train.recipe import Hyperparameters, Recipe
from edgeward.train.search.study import Trial
from edgeward.train.unfinished.folder import TUNED
from edgeward.train.unfinished.resume import Resumption, reopen

__all__ = ["Tuned", "command_line", "unfinished"]


@dataclass(frozen=True)
class Tuned:
    """The best of a search.

    Args:
        hyper: All hyper-parameters, with the best values put in.
        best: The trial that had them.
        trials: Finished trials.
        metric: What was judged, on the validation split.
        path: Folder of the study.
    """

    hyper: Hyperparameters
    best: Trial
    trials: int
    metric: str
    path: Path

    def of_run(self) -> dict[str, Any]:
        """Return what the run that is trained with these values says of the search."""
        return {
            "trials": self.trials,
            "metric": self.metric,
            "value": self.best.value,
            "study": self.path.name,
        }

    def to_json(self, command: str) -> dict[str, Any]:
        """Return what ``--json`` prints of it, beside the run."""
        best = {name: getattr(self.best, name) for name in ("number", "value", "values")}
        return {
            "path": str(self.path),
            "trials": self.trials,
            "metric": self.metric,
            "best": best,
            "command": command,
        }

    def lines(self, command: str) -> list[str]:
        """Return the same for people."""
        return [
            f"Search: {self.path} ({self.trials} trials). Best: trial {self.best.number}, "
            f"validation {self.metric} {self.best.value:.4f}.",
            f"The same training without the search: {command}",
        ]


def command_line(recipe: str, values: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return the command that trains with these values.

    Args:
        recipe: Name or file, as typed.
        values: Hyper-parameters to set.
        options: Options to type, by their names in ``Options``.
    """
    words = ["python", "-m", "train", recipe]
    for name, value in values.items():
        words += [COMMON[name], str(value)] if name in COMMON else ["--set", f"{name}={value}"]
    for name, value in options.items():
        if name == "augment":
            words += [] if value else ["--no-augment"]
        elif isinstance(value, bool):
            words += [f"--{name}"] if value else []
        else:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def unfinished(
    recipe: Recipe, tuned: Tuned, given: Set[str], options: Options
) -> Resumption | None:
    """Take the training of the best values that was killed after this very search.

    Args:
        recipe: What was trained.
        tuned: What the search found.
        given: Options that people typed.
        options: All options.

    Returns:
        The training; None if there is no such run.
    """
    try:
        found = reopen(recipe, tuned.hyper.to_json(), given, options)
    except UsageError:
        return None  # none at all, or one that was started otherwise
    path = found.partial.path / TUNED
    if path.exists() and loads(path.read_bytes(), TUNED, 1_000_000) == tuned.of_run():
        return found
    found.partial.release()
    return None
