"""All artifacts of a conversion, made in worker processes; what cannot be made gets a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeward.convert.worker.job import Job
from edgeward.convert.worker.memory import is_transient
from edgeward.convert.worker.process import run_worker
from edgeward.runtime.errors import ConverterError, EdgewardError

__all__ = ["Conversion", "convert_all"]


@dataclass
class Conversion:
    """What the workers reported.

    Attributes:
        made: Artifact id -> whether it keeps state between invocations.
        missing: Artifact id -> why it could not be made.
        transient: Those of them that may be made when they are asked for again: they failed of a
            crash, of memory or of time.
        instead: Artifact id made -> artifact id asked for -> the note on why it was exchanged.
        notes: What the user should know.
        versions: Package -> version.
    """

    made: dict[str, bool] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    transient: set[str] = field(default_factory=set)
    instead: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def fail(self, name: str, error: EdgewardError) -> None:
        """Note what an artifact could not be made of."""
        received = "" if error.received is None else str(error.received)
        self.missing[name] = f"{error.message} {received}".strip()
        self.transient |= {name} if is_transient(error) else set()

    def exchange(self, made: str, wanted: str, note: str) -> None:
        """Note that an artifact is made in the place of the one that was asked for."""
        self.instead.setdefault(made, {})[wanted] = note
        self.notes.append(note)


def convert_all(
    folder: Path,
    job: Job,
    *,
    timeout: float,
    progress: Callable[[str], None],
    program: str = "artifacts",
) -> Conversion:
    """Make the artifacts in ``folder``.

    Args:
        folder: Work folder with the calibration samples.
        job: What to make. A tolerant one goes on also after a crash of the converter.
        timeout: Seconds for all of it.
        progress: Called with one line per step.
        program: What the worker does, see ``make``.

    Raises:
        TargetError: A format cannot hold the model, and the job is not tolerant.
        ConverterError: The converter crashed or ran out of time. When it is, only before the first
            artifact.
    """
    result = Conversion()
    deadline = time.monotonic() + timeout
    left = list(job.artifacts)
    current = label = ""

    def on_event(event: dict[str, Any]) -> None:
        nonlocal current, label
        if "made" in event:
            result.made[event["made"]] = event["stateful"]
            progress(f"made {_said(event, 'made')}: {event['size']:,} bytes")
        elif "failed" in event:
            why = {name: event[name] for name in ("message", "received", "transient")}
            result.fail(event["failed"], ConverterError(**why))
            progress(f"not made: {_said(event, 'failed')}")
        elif "instead" in event:
            made, wanted = event["instead"], event["wanted"]
            result.exchange(made, wanted, f"{made} instead of {wanted}: {event['why']}")
        elif "note" in event:
            result.notes.append(event["note"])
        elif event.get("stage") == "convert":
            current, label = event["artifact"], _said(event, "artifact")
        elif event.get("stage") is not None:
            progress(str(event["stage"]))

    while True:
        current = ""
        replace(job, artifacts=left).write(folder)
        try:
            result.versions = run_worker(
                folder,
                timeout=max(1.0, deadline - time.monotonic()),
                on_event=on_event,
                memory=job.memory,
                program=program,
            )
            return result
        except ConverterError as error:
            out_of_time = time.monotonic() >= deadline
            if not job.tolerant or not current or (out_of_time and not result.made):
                raise
            if out_of_time:
                late = left[left.index(current) :]
                result.missing |= dict.fromkeys(late, "there was no time left: --timeout SECONDS")
                result.transient |= set(late)
                return result
            # The others may be fine: a worker of their own begins after the one that crashed.
            result.fail(current, error)
            progress(f"not made: {label}, the converter crashed")
            left = left[left.index(current) + 1 :]
            if not left:
                return result


def _said(event: dict[str, Any], key: str) -> str:
    """Return what a user is told that an event is about: attempts of repair have inner names."""
    return str(event.get("label", event[key]))
