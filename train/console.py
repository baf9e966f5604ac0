"""What people see while a model trains: a bar on a terminal, plain lines elsewhere.

Everything goes to one stream, standard error: standard output belongs to ``--json``.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TextIO

__all__ = ["Console", "open_console"]


class Console(Protocol):
    """Where a training says what it does."""

    def say(self, line: str) -> None:
        """Print one line."""

    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Show that ``step`` of ``steps`` of an epoch (from 1) are done."""

    def epoch(self, row: Mapping[str, float], epochs: int) -> None:
        """Show the row of a finished epoch."""

    def progress(self, done: int, total: int, text: str) -> None:
        """Show that ``done`` of ``total`` trainings of a search are done, and a word on them."""


@contextlib.contextmanager
def open_console(stream: TextIO) -> Iterator[Console]:
    """Open the console that fits the stream.

    Args:
        stream: Usually ``sys.stderr``.

    Yields:
        A progress bar on a terminal, plain lines otherwise or where ``rich`` is missing.
    """
    if stream.isatty() and importlib.util.find_spec("rich") is not None:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} {task.fields[text]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Terminal(file=stream), transient=True) as progress:
            yield _Bar(progress)
    else:
        yield _Lines(stream)


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Say nothing: one line per epoch is enough in a log."""

    def epoch(self, row: Mapping[str, float], epochs: int) -> None:
        self.say(_render(row, epochs))

    def progress(self, done: int, total: int, text: str) -> None:
        """Say nothing: the search has a line of its own for each trial."""


class _Bar:
    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task: Any = None
        self._search: Any = None

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        text = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in losses.items())
        shown = {"description": f"Epoch {epoch}", "total": steps, "text": f"steps, {text}"}
        if self._task is None:
            self._task = self._progress.add_task(**shown)
        self._progress.update(self._task, completed=step, **shown)

    def epoch(self, row: Mapping[str, float], epochs: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self.say(_render(row, epochs))

    def progress(self, done: int, total: int, text: str) -> None:
        shown = {"description": "Search", "total": total, "text": f"trials{text}"}
        if self._search is None:
            self._search = self._progress.add_task(**shown)
        self._progress.update(self._search, completed=done, **shown)


def _render(row: Mapping[str, float], epochs: int) -> str:
    skipped = ("epoch", "learning_rate", "seconds")
    values = ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in row.items()
        if name not in skipped
    )
    return f"Epoch {int(row['epoch'])}/{epochs}: {values} ({row['seconds']:.1f} s)"
