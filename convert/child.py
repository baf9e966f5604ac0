"""Start the worker process, follow its events, and turn its death into an error."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime import errors
from runtime.errors import ConverterError, EdgewardError, MissingExtraError

__all__ = ["run_worker"]

LOG = "worker.log"
LOG_LINES = 15


def run_worker(
    folder: Path,
    *,
    timeout: float,
    on_event: Callable[[dict[str, Any]], None],
    module: str = "convert.worker",
) -> dict[str, str]:
    """Run the job in ``folder`` in a process of its own.

    Args:
        folder: Work folder with the job.
        timeout: Seconds until the worker is killed.
        on_event: Called with each event: ``stage``, ``artifact``, ``made``.
        module: The program: it converts, or looks at a model.

    Returns:
        Versions of the packages that converted.

    Raises:
        ConverterError: It crashed, hung or failed; names stage and artifact and ends with its log.
        EdgewardError: A deliberate error of the worker, as itself.
    """
    _check_packages()
    reader, writer = os.pipe()
    log = folder / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
            env=_environment(folder),
        )
    os.close(writer)
    last: dict[str, Any] = {}
    try:
        last = _follow(reader, process, time.monotonic() + timeout, on_event)
    except TimeoutError as error:
        raise ConverterError(
            f"The converter ran out of time ({error}).",
            received=f"{timeout:.0f} s passed",
            expected="a result sooner",
            fix="give it more time: --timeout SECONDS",
        ) from None
    finally:
        os.close(reader)
        if process.poll() is None:
            process.kill()
        process.wait()
    if "error" in last:
        raise _as_error(last)
    if not last.get("done"):
        raise ConverterError(
            f"The converter crashed while it was at: {_place(last)}.",
            received=_how(process.returncode),
            expected="a converted model",
            fix="the end of its log:\n    " + "\n    ".join(_tail(log)),
        )
    versions: dict[str, str] = last["versions"]
    return versions


def _check_packages() -> None:
    for module in ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(f"{module}, which converts models,", "convert")


def _environment(folder: Path) -> dict[str, str]:
    # The worker must find these very packages, wherever the parent was started.
    root = str(Path(__file__).resolve().parent.parent)
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
    process: subprocess.Popen[bytes],
    deadline: float,
    on_event: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Read events until the pipe closes; return the last one that counts."""
    last: dict[str, Any] = {"stage": "start"}
    buffer = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            process.kill()
            raise TimeoutError(_place(last))
        if not select.select([reader], [], [], min(left, 1.0))[0]:
            continue
        chunk = os.read(reader, 65536)
        if not chunk:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(1.0, deadline - time.monotonic()))
            return last
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if "made" not in event:
                last = event
            on_event(event)


def _place(event: dict[str, Any]) -> str:
    place = str(event.get("stage", "?"))
    return f"{place} {event['artifact']}" if "artifact" in event else place


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _tail(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-LOG_LINES:]


def _as_error(event: dict[str, Any]) -> EdgewardError:
    kind = getattr(errors, event["error"], ConverterError)
    error: EdgewardError = kind(
        event["message"],
        received=event["received"],
        expected=event["expected"],
        fix=event["fix"],
    )
    return error
