"""What every command line of the project does the same way: errors, exit codes, ``--json``."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from edgeward.runtime.errors import EdgewardError

__all__ = ["guarded", "print_json", "say"]

INTERRUPTED = 130


def say(text: str = "") -> None:
    """Print a line for people on stderr, which leaves stdout to results."""
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        # Nobody listens to the progress any more; the work itself goes on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def print_json(value: Any) -> None:
    """Print the one JSON object of ``--json`` on stdout."""
    print(json.dumps(value, indent=2, sort_keys=True, allow_nan=False))


def guarded(program: str, body: Callable[[], int]) -> int:
    """Run a command and turn its errors into a message and the documented exit code."""
    # So that temporary folders go away when a service manager or a closed terminal ends us.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    try:
        code = body()
        sys.stdout.flush()
        return code
    except EdgewardError as error:
        say(f"{program}: {error}")
        return error.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # `... | head` closes the pipe; the interpreter would complain again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        place = f": {error.filename}" if error.filename else ""
        say(f"{program}: a file cannot be read or written: {error.strerror or error}{place}")
        return EdgewardError.exit_code
    except KeyboardInterrupt:
        say(f"{program}: interrupted")
        return INTERRUPTED
