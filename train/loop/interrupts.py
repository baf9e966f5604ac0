"""Ctrl-C that is neither lost nor comes at a bad moment."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """Remembers Ctrl-C, and can hold it back.

    KeyboardInterrupt alone does not do: raised inside a callback from C it is printed and
    forgotten. h5py, through which Keras saves, has such callbacks: about 1 of 100 interrupts of a
    save vanished, and the training went on. So the request is remembered and asked for again.

    Example:
        >>> with Interrupts() as interrupts:
        ...     interrupts.check()
        ...     with interrupts.held():
        ...         pass  # write a file whole
    """

    def __init__(self) -> None:
        self._asked = False
        self._held = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        # Python's own handler only: an ignored signal (nohup) stays ignored, and other threads
        # may not set one.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._asked:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold Ctrl-C back until the body is done."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if not self._held:
            raise KeyboardInterrupt
