"""What every command line of the project does the same way: errors, exit codes, ``--json``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from runtime.errors import EdgewardError

__all__ = ["guarded", "print_json", "say"]

INTERRUPTED = 130


def say(text: str = "") -> None:
    """Print a line for people on stderr, which leaves stdout to results."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print the one JSON object of ``--json`` on stdout."""
    print(json.dumps(value, indent=2, sort_keys=True, allow_nan=False))


def guarded(program: str, body: Callable[[], int]) -> int:
    """Run a command and turn its errors into a message and the documented exit code."""
    try:
        code = body()
        sys.stdout.flush()
        return code
    except EdgewardError as error:
        say(f"{program}: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say(f"{program}: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # `... | head` closes the pipe; the interpreter would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
