"""The child's side of a worker process: its events, its errors, its end.

The parent (``process.py``) reads one JSON event per line from the file descriptor that is the
second argument; the first one is the work folder.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeward.convert.worker.memory import limit_memory
from edgeward.convert.worker.packages import CONVERTING, versions
from edgeward.runtime.errors import EdgewardError

__all__ = ["describe_error", "load_tensorflow", "serve"]

PR_SET_PDEATHSIG = 1


def serve(arguments: list[str], work: Callable[[Path, Callable[..., None]], None]) -> int:
    """Do the work and report it.

    Args:
        arguments: Work folder and number of the file descriptor.
        work: Called with the folder and with ``tell``, which sends its keywords as an event.

    Returns:
        The exit code.
    """
    _die_with_parent()
    folder = Path(arguments[0])
    with os.fdopen(int(arguments[1]), "w", buffering=1) as events:

        def tell(**event: Any) -> None:
            events.write(json.dumps(event) + "\n")

        try:
            work(folder, tell)
        except EdgewardError as error:
            tell(error=type(error).__name__, **describe_error(error))
            return error.exit_code
        tell(done=True, versions=versions(CONVERTING))
    return 0


def load_tensorflow(memory: int, tell: Callable[..., None]) -> None:
    """Import TensorFlow, and let this process take so much memory and no more.

    Args:
        memory: Bytes; 0 is no limit.
        tell: Sends its keywords as an event.

    Raises:
        ConverterError: TensorFlow alone takes as much.
    """
    tell(stage="load TensorFlow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Conversion needs no GPU, and one that training holds would only be in the way.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import edgeward.convert.model.load  # noqa: F401 - and with it TensorFlow and Keras

    limit_memory(memory)


def describe_error(error: EdgewardError) -> dict[str, Any]:
    """Return what an event says of an error."""
    return {
        "message": error.message,
        "received": None if error.received is None else str(error.received),
        "expected": None if error.expected is None else str(error.expected),
        "fix": error.fix,
        "transient": error.transient,
    }


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies: nobody would read the result."""
    if sys.platform.startswith("linux"):
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
