"""Which training is continued, and whether what people ask for is that training.

No TensorFlow here: a misfit is said at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from edgeward.runtime.errors import UsageError
from edgeward.train.cluster import worker_from_environment
from edgeward.train.options import Options
from edgeward.train.recipe import Hyperparameters, Recipe, override
from edgeward.train.unfinished.folder import PartialRun
from edgeward.train.unfinished.state import State, load_state

__all__ = ["Resumption", "check_resumed_data", "reopen"]


@dataclass(frozen=True)
class Resumption:
    """An unfinished run to continue.

    Args:
        partial: The run, locked (but not by workers besides the chief).
        state: Where it stopped.
        hyper: Hyper-parameters that it was started with.
        options: Options that it was started with.
    """

    partial: PartialRun
    state: State
    hyper: Hyperparameters
    options: Options


def reopen(
    recipe: Recipe, changes: Mapping[str, object], given: Set[str], options: Options
) -> Resumption:
    """Take the newest unfinished run of a recipe.

    Args:
        recipe: What to continue.
        changes: Hyper-parameters that people typed; the others are the run's.
        given: Options that people typed, by the names of ``Options``.
        options: All options; of those not typed, the run's values count.

    Raises:
        UsageError: There is none, or something typed differs from what it was started with.
        InvalidDataError: Its state is damaged.
    """
    worker = worker_from_environment()
    is_chief = worker is None or worker.is_chief
    partial = PartialRun.resume(options.out, recipe.name, lock=is_chief)
    try:
        state = load_state(partial.path)
        hyper = override(recipe.hyperparameters, state.hyperparameters)
        asked = override(hyper, changes).to_json()
        _compare(asked, state.hyperparameters, partial)
        typed = {name: value for name, value in options.to_json().items() if name in given}
        _compare(typed, {name: state.options.get(name) for name in typed}, partial)
    except BaseException:
        partial.release()
        raise
    return Resumption(partial, state, hyper, options.resumed(state.options))


def check_resumed_data(state: State, sha256: str, policy: str) -> None:
    """Compare the loaded data and the precision with those of the state.

    Raises:
        UsageError: They differ: the training would not be the same one.
    """
    if state.dataset != sha256:
        raise UsageError(
            "The data are not those that the unfinished run was started with.",
            received=f"sha256 {sha256}",
            expected=f"sha256 {state.dataset} (--data {state.options['data']})",
            fix="the same data, or train anew without --resume",
        )
    if state.policy != policy:
        raise UsageError(
            "The precision is not that of the unfinished run.",
            received=policy,
            expected=state.policy,
            fix="--precision, or the --device it was started on",
        )


def _compare(asked: Mapping[str, Any], saved: Mapping[str, Any], partial: PartialRun) -> None:
    for name, value in asked.items():
        # Through JSON, which has no tuples.
        if json.loads(json.dumps(value)) != saved.get(name):
            raise UsageError(
                f"The unfinished run was started with another {name.replace('_', ' ')}.",
                received=value,
                expected=f"{saved.get(name)} ({partial.path})",
                fix="leave the option out, or train anew without --resume",
            )
