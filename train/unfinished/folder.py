"""A run in the making: a dot-folder, locked by the process that fills it, visible by one rename.

The system gives a lock back when its process dies, however it dies: so a folder with a state and
without a lock can be resumed, and one with neither is swept away.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgeward.runtime.errors import InvalidRunError, UsageError
from edgeward.runtime.files import fsync_tree, write_atomic
from edgeward.runtime.locks import LOCK, take_lock
from edgeward.runtime.strict_json import dumps
from edgeward.train.run import REQUIRED_FILES, RunInfo
from edgeward.train.unfinished.state import STATE

__all__ = ["TUNED", "PartialRun"]

# Of a run that a search made: which one; it becomes a part of run.json when the run is finished.
TUNED = "tuned.json"

_CLAIM = ".claim-"

_NUMBER = re.compile(r"\.?(\d{3,})(\.partial)?", re.ASCII)

# A folder without even a lock is younger than this only if somebody is about to make its lock.
_NEW_SECONDS = 60.0


class PartialRun:
    """An unfinished run that belongs to this process until ``release``.

    Attributes:
        path: ``<out>/<recipe>/.NNN.partial``.
    """

    def __init__(self, path: Path, lock: int | None) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def start(cls, out: Path, recipe: str) -> PartialRun:
        """Claim the next free number; safe against another training that starts now.

        What killed trainings left is swept away, unless it can be resumed.
        """
        folder = out / recipe
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        claim = Path(tempfile.mkdtemp(prefix=_CLAIM, dir=folder))
        lock = take_lock(claim, make=True)
        claim.chmod(0o755)
        while True:
            path = folder / f".{max(_numbers(folder), default=0) + 1:03d}.partial"
            try:
                # Locked before it has its name; a folder that is not empty is not replaced.
                claim.rename(path)
            except OSError:
                if not path.exists():
                    raise
                continue
            return cls(path, lock)

    @classmethod
    def resume(cls, out: Path, recipe: str, *, lock: bool = True) -> PartialRun:
        """Take the unfinished run whose state is the newest and that no living process has.

        Args:
            out: Folder that holds the runs.
            recipe: Name of the recipe.
            lock: False for the workers besides the chief: they read what the chief has locked.

        Raises:
            UsageError: There is none.
        """
        states = sorted(
            (out / recipe).glob(f".*.partial/{STATE}"), key=lambda path: path.stat().st_mtime
        )
        for state in reversed(states):
            if not lock:
                return cls(state.parent, None)
            taken = take_lock(state.parent, make=True)
            if taken is None:
                continue
            for leftover in state.parent.glob(".*"):
                leftover.unlink()  # a file that was being written when the process was killed
            return cls(state.parent, taken)
        busy = f"{len(states)} unfinished, each of a living process" if states else "none"
        raise UsageError(
            f"There is no unfinished run of {recipe} to resume.",
            received=f"{busy} in {out / recipe}",
            fix=f"python -m train {recipe}",
        )

    def finish(self, info: RunInfo) -> Path:
        """Write ``run.json``, flush everything to the disk and rename.

        Returns:
            The finished run folder.

        Raises:
            InvalidRunError: A file of contract A is missing.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        write_atomic(self.path / "run.json", dumps(replace(info, finished_at=now).to_json()))
        missing = [name for name in REQUIRED_FILES if not (self.path / name).is_file()]
        if missing:
            raise InvalidRunError("The run is incomplete.", received=f"no {missing}")
        fsync_tree(self.path)
        final = self.path.with_name(self.path.name.removeprefix(".").removesuffix(".partial"))
        self.path.rename(final)
        self.path = final
        # After the rename: whenever the process is killed, there is a state or a finished run.
        _remove_traces(final)
        return final

    def discard(self) -> None:
        """Delete the partial folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _numbers(folder: Path) -> Iterator[int]:
    for entry in folder.iterdir():
        match = _NUMBER.fullmatch(entry.name)
        if match:
            yield int(match[1])


def _sweep(folder: Path) -> None:
    """Delete what killed trainings left and nobody can use."""
    for path in [*folder.glob(".*.partial"), *folder.glob(f"{_CLAIM}*")]:
        with contextlib.suppress(OSError):
            if (path / STATE).exists():
                continue
            young = time.time() - path.stat().st_mtime < _NEW_SECONDS
            if not (path / LOCK).exists() and young:
                continue
            lock = take_lock(path, make=True)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)
    for path in folder.glob(f"[0-9]*/{LOCK}"):
        lock = take_lock(path.parent, make=False)
        if lock is not None:
            _remove_traces(path.parent)
            os.close(lock)


def _remove_traces(run: Path) -> None:
    for name in (STATE, TUNED, LOCK):
        (run / name).unlink(missing_ok=True)
