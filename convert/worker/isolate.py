"""Run a function in a process of its own, so that its crash is an error and not the end.

Interpreters abort the process on some models (a degenerate quantisation, a damaged file); what
was converted before must not be lost with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from edgeward.convert.worker.memory import data_size, default_memory, limit_memory
from edgeward.runtime.errors import TargetError

__all__ = ["isolated"]

_Result = TypeVar("_Result")


def isolated(
    what: str,
    function: Callable[..., _Result],
    *arguments: Any,
    timeout: float | None = None,
    memory: int | None = None,
) -> _Result:
    """Return ``function(*arguments)``, computed in a forked process.

    Args:
        what: What is done, for the message.
        function: Its result and its errors go through pickle.
        arguments: Of the function; shared with the process, not sent to it: samples and models
            may have hundreds of megabytes.
        timeout: Seconds until the process is killed; None waits for ever.
        memory: Bytes that the process may take beyond what it shares with this one; 0 is no limit,
            None as much as the machine allows a worker.

    Raises:
        TargetError: The process died, or ran out of memory or time.
        Exception: What the function raises.
    """
    allowed = default_memory() if memory is None else memory
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_run, args=(sender, what, function, arguments, allowed), daemon=True
    )
    # What is waiting to be printed would be printed by both.
    sys.stdout.flush()
    sys.stderr.flush()
    process.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            raise TargetError(
                f"The runtime ran out of time: {what}.",
                received=f"{timeout:g} s passed",
                expected="a result sooner",
                fix="give it more time: --timeout SECONDS",
                transient=True,
            )
        succeeded, result = receiver.recv()
    except EOFError:
        process.join()
        raise TargetError(
            f"The runtime crashed: {what}.",
            received=f"its process ended with {process.exitcode}",
            fix="another variant or format",
            transient=True,
        ) from None
    finally:
        # Not terminate: a kernel that hangs never comes back to Python's handler of that signal.
        process.kill()
        process.join()
        receiver.close()
    if not succeeded:
        raise result
    answer: _Result = result
    return answer


def _run(
    sender: Any,
    what: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    allowed: int,
) -> None:
    try:
        limit_memory(data_size() + allowed if allowed else 0)
        answer = (True, function(*arguments))
    except MemoryError as error:
        short = TargetError(
            f"The runtime ran out of memory: {what}.",
            received=str(error) or "an allocation that failed",
            expected="memory for the model and its samples",
            fix="allow more: --memory GB (0: no limit)"
            if allowed
            else "a machine with more memory",
            transient=True,
        )
        answer = (False, short)
    except BaseException as error:  # the parent raises it
        answer = (False, error)
    # A parent that is gone reads nothing.
    with contextlib.suppress(BrokenPipeError):
        sender.send(answer)
    sender.close()
