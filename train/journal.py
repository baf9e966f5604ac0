"""The file of an Optuna study, rewritten as a whole so that no kill can tear it.

Optuna's own JournalFileBackend appends. Killed in the middle of a line it leaves half of one, to
which the next process appends: the file cannot be read any more. Killed while it holds its lock, it
makes the next one wait 30 seconds. The format is the same: Optuna's tools read this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from runtime.files import write_atomic

__all__ = ["Journal"]


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
        added = list(_lines(logs))
        text = self._text + b"".join(added)
        write_atomic(self.path, text)
        self._text = text
        # As a new process would read them.
        self._logs += [json.loads(line) for line in added]


def _lines(logs: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for log in logs:
        yield json.dumps(log, separators=(",", ":"), allow_nan=False).encode() + b"\n"
