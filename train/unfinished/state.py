"""The state of an unfinished training: one file, written whole or not at all, without pickles.

Keras' BackupAndRestore keeps its state in several files, and after a kill between two of them
cannot go on (15 of 24 kills). Here one rename makes a state the present one. No TensorFlow here.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.files import write_atomic
from edgeward.runtime.strict_json import Fields, dumps, loads

__all__ = ["STATE", "Best", "State", "load_state", "save_state"]

# Its name in the partial folder; gone when the run is finished.
STATE = "state.npz"

_MAX_JSON = 2**24


@dataclass(frozen=True)
class Best:
    """The best epoch so far, for early stopping.

    Args:
        epoch: Counts from 1.
        value: The metric on the validation split.
        weights: Of the exported model.
    """

    epoch: int
    value: float
    weights: Sequence[Array]


@dataclass(frozen=True)
class State:
    """Everything that continuing needs.

    Args:
        recipe: Name of the recipe.
        hyperparameters: Name -> value.
        options: From ``Options.to_json``.
        dataset: Hash of the data set's content.
        policy: Keras dtype policy.
        versions: Package -> version.
        resumed: How often the training was continued.
        elapsed: Wall-clock seconds so far, over all the processes.
        epochs: Finished epochs.
        steps: Finished steps of the epoch after them.
        totals: Sums of the losses over those steps.
        seconds: Wall-clock seconds of those steps.
        stopped: Whether early stopping has ended the training.
        history: One row per finished epoch.
        best: For early stopping, else None.
        arrays: Variables of learner and augmentation, in their order.
    """

    recipe: str
    hyperparameters: Mapping[str, Any]
    options: Mapping[str, Any]
    dataset: str
    policy: str
    versions: Mapping[str, str]
    resumed: int
    elapsed: float
    epochs: int
    steps: int
    totals: tuple[float, ...]
    seconds: float
    stopped: bool
    history: Sequence[Mapping[str, float]]
    best: Best | None
    arrays: Sequence[Array]


_PLAIN = [name for name in State.__dataclass_fields__ if name not in ("best", "arrays")]


def save_state(folder: Path, state: State) -> None:
    """Write the state; the one before stays until this one is safe on the disk."""
    best = state.best
    values = {name: getattr(state, name) for name in _PLAIN} | {
        "best": None if best is None else {"epoch": best.epoch, "value": best.value}
    }
    arrays = {f"v{index:05}": array for index, array in enumerate(state.arrays)}
    if best is not None:
        arrays |= {f"b{index:05}": array for index, array in enumerate(best.weights)}
    buffer = io.BytesIO()
    np.savez(buffer, state=np.frombuffer(dumps(values), np.uint8), **arrays)
    write_atomic(folder / STATE, buffer.getvalue())


def load_state(folder: Path) -> State:
    """Read the state of a partial run.

    Raises:
        InvalidDataError: It is missing or damaged.
    """
    path = folder / STATE
    try:
        # numpy leaves a damaged file open; bytes it cannot.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
            found = {name: data[name] for name in sorted(data.files)}
        read = Fields(
            loads(found.pop("state").tobytes(), STATE, _MAX_JSON), STATE, [*_PLAIN, "best"]
        )
        values = {name: read.raw(name) for name in _PLAIN}
        best = read.optional("best", read.mapping)
        return State(
            **{**values, "totals": tuple(values["totals"])},
            best=None if best is None else Best(**best, weights=_of(found, "b")),
            arrays=_of(found, "v"),
        )
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged archives
        raise InvalidDataError(
            f"{path} is damaged.",
            received=f"{type(error).__name__}: {error}",
            fix=f"delete {folder}, and train anew",
        ) from None


def _of(arrays: Mapping[str, Array], kind: str) -> list[Array]:
    return [array for name, array in arrays.items() if name.startswith(kind)]
