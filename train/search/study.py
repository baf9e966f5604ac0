"""The study of a search: its finished trials on the disk, and what to try next.

Only finished trials are stored, each by one write: a trial that was running when its process was
killed leaves nothing, and is run again. What trial n tries follows from the seed, n and the trials
before it alone, so that a resumed study goes on as an undisturbed one. No TensorFlow here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.errors import InvalidDataError, MissingExtraError, UsageError
from edgeward.runtime.files import write_atomic
from edgeward.runtime.locks import LOCK, take_lock
from edgeward.train.search.space import Space, tidy

__all__ = ["COMPLETE", "FAILED", "PRUNED", "Asked", "Journal", "Study", "Trial"]

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"

_FILE = "study.journal"

_NAME = "tune"

_IDENTITY = "identity"

# A training with the same values and seed gives the same result: nothing is learned from it.
_ATTEMPTS = 20


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Args:
        number: Counts from 1.
        values: The hyper-parameters that were searched.
        state: ``complete``, ``pruned`` (ended early, as worse than most) or ``failed``.
        value: Metric on the validation split; None unless complete.
        epochs: The same metric after each epoch.
        seconds: Wall-clock time.
        error: Why it failed, else None.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    value: float | None
    epochs: tuple[float, ...]
    seconds: float
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what ``study.json`` records."""
        return asdict(self)


class Asked:
    """What to try next.

    Args:
        values: The hyper-parameters searched.
        trial: Optuna's own, which knows the trials before it.
    """

    def __init__(self, values: Mapping[str, Any], trial: Any) -> None:
        self.values = values
        self._trial = trial

    def is_hopeless(self, epoch: int, value: float) -> bool:
        """Hear the metric after an epoch (from 1); tell whether most trials had a better one."""
        self._trial.report(value, epoch)
        return bool(self._trial.should_prune())


class Study:
    """The trials of a search; locked by this process until ``close``.

    Args:
        folder: Where its files are.
        resume: Whether the trials that are there may be continued.

    Attributes:
        trials: The finished ones.

    Raises:
        MissingExtraError: Optuna is not installed.
        UsageError: There are trials and ``resume`` was not asked for, or another process is at it.
        InvalidDataError: The file is damaged.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        if importlib.util.find_spec("optuna") is None:
            raise MissingExtraError("Optuna", "train")
        self.folder = folder
        self.trials: list[Trial] = []
        self._stored: Any = None
        self._begun = False
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = take_lock(folder, make=True)
        if self._lock is None:
            raise UsageError("Another process is at this search.", received=folder)
        try:
            self._read()
            if self.trials and not resume:
                raise UsageError(
                    "There is a search already.",
                    received=f"{len(self.trials)} finished trials in {folder}",
                    fix="--resume continues it; delete the folder to begin anew",
                )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back; what was begun and got no finished trial goes away."""
        if self._lock is None:
            return
        if self._begun and not self.trials:
            (self.folder / _FILE).unlink(missing_ok=True)
        (self.folder / LOCK).unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def begin(self, identity: Mapping[str, Any], maximise: bool) -> None:
        """Make sure that the trials to come belong to those that are there.

        Args:
            identity: Name -> value of all that decides the result of a trial.
            maximise: Whether a larger metric is better.

        Raises:
            UsageError: The study has another identity; names the first difference.
        """
        # Through JSON, which has no tuples.
        asked = json.loads(json.dumps(identity))
        optuna = _optuna()
        if self.trials:
            _compare(asked, self._stored.user_attrs[_IDENTITY], self.folder)
            return
        (self.folder / _FILE).unlink(missing_ok=True)
        self._begun = True
        self._stored = optuna.create_study(
            storage=self._storage(), study_name=_NAME, direction=_direction(maximise)
        )
        self._stored.set_user_attr(_IDENTITY, asked)

    def ask(
        self, space: Space, seed: int, first: Mapping[str, Any] | None, warmup: int | None
    ) -> Asked:
        """Return what to try next.

        Args:
            space: What is searched.
            seed: Of the search.
            first: Values of the first trial; None samples them as well.
            warmup: Epochs during which no trial is ended early; None ends none.
        """
        optuna = _optuna()
        number = len(self.trials) + 1
        derived = np.random.SeedSequence((seed, number)).generate_state(1)[0]
        # In memory, of the finished trials alone: so there is nothing else that could matter.
        memory = optuna.create_study(
            direction=self._stored.direction,
            sampler=optuna.samplers.TPESampler(seed=int(derived)),
            pruner=optuna.pruners.NopPruner()
            if warmup is None
            else optuna.pruners.MedianPruner(n_warmup_steps=warmup),
        )
        memory.add_trials(self._stored.trials)
        if number == 1 and first is not None:
            return Asked(first, memory.ask())
        tried = [trial.values for trial in self.trials]
        distributions = _distributions(space)
        for _ in range(_ATTEMPTS):
            trial = memory.ask(distributions)
            values = tidy(space, trial.params)
            if values not in tried:
                break
        return Asked(values, trial)

    def add(self, trial: Trial, space: Space) -> None:
        """Store a finished trial; it is on the disk when this returns."""
        optuna = _optuna()
        self._stored.add_trial(
            optuna.trial.create_trial(
                state=_states()[trial.state],
                value=trial.value,
                params=dict(trial.values),
                distributions=_distributions(space),
                intermediate_values=dict(enumerate(trial.epochs, 1)),
                user_attrs={"seconds": trial.seconds, "error": trial.error},
            )
        )
        self.trials.append(trial)

    def _storage(self) -> Any:
        return _optuna().storages.JournalStorage(Journal(self.folder / _FILE))

    def _read(self) -> None:
        optuna = _optuna()
        names = {state: name for name, state in _states().items()}
        try:
            storage = self._storage()
            if not storage.get_all_studies():
                return
            self._stored = optuna.load_study(study_name=_NAME, storage=storage)
            self.trials = [
                Trial(
                    number=trial.number + 1,
                    values=trial.params,
                    state=names[trial.state],
                    value=trial.value,
                    epochs=tuple(trial.intermediate_values.values()),
                    seconds=trial.user_attrs["seconds"],
                    error=trial.user_attrs["error"],
                )
                for trial in self._stored.trials
            ]
            if self.trials:
                dict(self._stored.user_attrs[_IDENTITY])
        except Exception as error:  # whatever Optuna raises on what it did not write
            raise InvalidDataError(
                f"{self.folder / _FILE} is damaged.",
                received=f"{type(error).__name__}: {error}"[:200],
                fix=f"delete {self.folder}, and search anew",
            ) from None


def _compare(asked: Mapping[str, Any], saved: Mapping[str, Any], folder: Path) -> None:
    for name in sorted({*asked, *saved}):
        if asked.get(name) != saved.get(name):
            raise UsageError(
                f"The search in {folder} was made with another {name}.",
                received=asked.get(name),
                expected=saved.get(name),
                fix="the options that it was started with, or delete the folder to begin anew",
            )


def _distributions(space: Space) -> dict[str, Any]:
    kinds = _optuna().distributions
    make = {
        "log": lambda low, high: kinds.FloatDistribution(low, high, log=True),
        "float": kinds.FloatDistribution,
        "int": kinds.IntDistribution,
        "choice": lambda *values: kinds.CategoricalDistribution(values),
    }
    return {name: make[kind](*values) for name, (kind, *values) in space.items()}


def _direction(maximise: bool) -> str:
    return "maximize" if maximise else "minimize"


def _states() -> dict[str, Any]:
    state = _optuna().trial.TrialState
    return {COMPLETE: state.COMPLETE, PRUNED: state.PRUNED, FAILED: state.FAIL}


def _optuna() -> Any:
    # Imported where it is needed: all but a search works without it.
    optuna: Any = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Journal:
    """A backend for ``optuna.storages.JournalStorage``, of one process at a time.

    It has the methods of ``optuna.storages.journal.BaseJournalBackend``, without importing it.

    Args:
        path: The file; it need not exist yet.

    Raises:
        ValueError: A line is no JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        self._text = b"".join(lines)
        self._logs: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the entries from that number on."""
        yield from self._logs[log_number_from:]

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Add entries; they are on the disk when this returns."""
        added = list(_complete_lines(logs))
        text = self._text + b"".join(added)
        write_atomic(self.path, text)
        self._text = text
        # As a new process would read them.
        self._logs += [json.loads(line) for line in added]


def _complete_lines(logs: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for log in logs:
        yield json.dumps(log, separators=(",", ":"), allow_nan=False).encode() + b"\n"
