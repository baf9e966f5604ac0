"""Start the worker process, follow its events, and turn its death into an error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgeward
from edgeward.convert.worker.memory import data_size, memory_error, says_memory, showed_limit
from edgeward.convert.worker.packages import check_installed
from edgeward.runtime import errors
from edgeward.runtime.errors import ConverterError, EdgewardError

__all__ = ["run_worker"]

_PROGRAM = "edgeward.convert.worker.make"
LOG = "worker.log"

LOG_LINES = 15

_PRIMITIVE = re.compile(r"could not (create|execute) a primitive")

# Seconds between two looks at the memory of the worker.
_LOOK = 0.2


def run_worker(
    folder: Path,
    *,
    timeout: float,
    on_event: Callable[[dict[str, Any]], None],
    memory: int = 0,
    program: str = "artifacts",
) -> dict[str, str]:
    """Run the job in ``folder`` in a process of its own.

    Args:
        folder: Work folder with the job.
        timeout: Seconds until the worker is killed.
        on_event: Called with each event: ``stage``, ``artifact``, ``made``.
        memory: Bytes that the job allows, for the message where that was too little; 0 is no limit.
        program: What the child does, see ``make``.

    Returns:
        Versions of the packages that converted.

    Raises:
        ConverterError: It crashed, hung or failed; names stage and artifact and ends with its log,
            or names the limit where it ran out of memory.
        EdgewardError: A deliberate error of the worker, as itself.
    """
    check_installed()
    reader, writer = os.pipe()
    log = folder / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", _PROGRAM, program, str(folder), str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
            env=_environment(folder),
        )
    os.close(writer)
    last: dict[str, Any] = {}
    watch = _Watch(process)
    try:
        last = _follow(reader, watch, time.monotonic() + timeout, on_event)
    except TimeoutError as error:
        raise ConverterError(
            f"The converter ran out of time ({error}).",
            received=f"{timeout:.0f} s passed",
            expected="a result sooner",
            fix="give it more time: --timeout SECONDS",
            transient=True,
        ) from None
    finally:
        os.close(reader)
        if process.poll() is None:
            process.kill()
        process.wait()
    if "error" in last:
        raise _as_error(last, memory, watch.place)
    if not last.get("done"):
        raise _death(process.returncode, _tail(log), watch, memory)
    versions: dict[str, str] = last["versions"]
    return versions


class _Watch:
    """Where a worker is, and the most memory that it was seen to take."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.place = "start"
        self.peak = 0

    def look(self) -> None:
        self.peak = max(self.peak, data_size(self.process.pid))


def _environment(folder: Path) -> dict[str, str]:
    # The worker must find these very packages, wherever the parent was started.
    root = str(Path(edgeward.__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",
        # tf2onnx names nodes in the order of sets: without this, two conversions differ.
        "PYTHONHASHSEED": "0",
        # TensorFlow leaves generated sources behind; here they go with the work folder.
        "TMPDIR": str(folder),
    }


def _follow(
    reader: int,
    watch: _Watch,
    deadline: float,
    on_event: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Read events until the pipe closes; return the last one that counts."""
    last: dict[str, Any] = {"stage": "start"}
    buffer = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            watch.process.kill()
            raise TimeoutError(watch.place)
        watch.look()
        if not select.select([reader], [], [], min(left, _LOOK))[0]:
            continue
        chunk = os.read(reader, 65536)
        if not chunk:
            with contextlib.suppress(subprocess.TimeoutExpired):
                watch.process.wait(timeout=max(1.0, deadline - time.monotonic()))
            return last
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if "made" not in event:
                last = event
            if "stage" in event:
                watch.place = _place(event)
            on_event(event)


def _place(event: dict[str, Any]) -> str:
    what = event.get("label", event.get("artifact"))
    return str(event["stage"]) if what is None else f"{event['stage']} {what}"


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _tail(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-LOG_LINES:]


def _death(code: int, tail: list[str], watch: _Watch, memory: int) -> ConverterError:
    how, end = _how(code), "the end of its log:\n    " + "\n    ".join(tail)
    if says_memory("\n".join(tail)):
        return memory_error(watch.place, memory, how)
    # oneDNN does not say that it was memory, and a peak between two looks is not seen.
    if showed_limit(watch.peak, memory) or (memory and _PRIMITIVE.search("\n".join(tail))):
        # The likely cause, not a proven one: the log stays with it.
        return memory_error(watch.place, memory, f"{how}; {end}")
    return ConverterError(
        f"The converter crashed while it was at: {watch.place}.",
        received=how,
        expected="a converted model",
        fix=end,
        transient=True,
    )


def _as_error(event: dict[str, Any], memory: int, place: str) -> EdgewardError:
    kind = getattr(errors, event["error"], ConverterError)
    error: EdgewardError = kind(
        event["message"],
        received=event["received"],
        expected=event["expected"],
        fix=event["fix"],
        transient=event["transient"],
    )
    # What reads a model or converts it wraps whatever is raised there, MemoryError too.
    if says_memory(str(error.received)):
        return memory_error(place, memory, f"{error.message} {error.received}")
    return error
