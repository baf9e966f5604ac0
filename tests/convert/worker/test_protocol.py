"""What crosses between processes comes back equal, and what is not a job is no job."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeward.convert.settings import Settings, Switches
from edgeward.convert.worker.inspection import Inspection, InspectionJob, ModelInput, ModelOutput
from edgeward.convert.worker.job import JOB, Attempt, Job, Plan
from edgeward.convert.worker.protocol import read
from edgeward.runtime.errors import UsageError

SETTINGS = Settings("mse", 200, ("dense/MatMul",), equalise=True)
VALUES: list[Any] = [
    Job(
        *("m.keras", "t.npz", {"x": {"shape": [6], "steps": [{"op": "scale", "by": 0.5}]}}),
        *(["y"], {"v.txt": "a\nb"}, ["tflite-int8"], True, 2**31, Switches(False)),
        *({"x": [7]}, {"tflite-int8": SETTINGS}),
    ),
    Job("m", "t", {}, [], {}, []),
    Plan([Attempt("a.1", "tflite-int8", SETTINGS, tuned=True, number=2)], "d.npz"),
    Inspection(
        {"x": ModelInput((28, 28, 1), "float32")},
        {"y": ModelOutput((None, 3), "softmax", 0.0, 1.5), "z": ModelOutput(())},
        loops=True,
    ),
    InspectionJob("m", "c.npz", {"x": [7]}, {"x": {"shape": [7]}}, ["y"], {"v": "a"}, 5),
    InspectionJob("m", "c.npz", {}, None, None, {}),
]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_read_is_what_was_written(value: Any, tmp_path: Path) -> None:
    value.write(tmp_path)
    found = type(value).read(tmp_path)
    if isinstance(value, Plan):
        found = Plan(list(found.attempts), found.distil)
    assert found == value


def change(**more: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda job: job.update(more)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (change(color="red"), ValueError),
        (lambda job: job.pop("model"), ValueError),
        # One with a default too: who writes a job says everything.
        (lambda job: job.pop("memory"), ValueError),
        (lambda job: job["settings"]["a"].pop("samples"), ValueError),
        (lambda job: job["settings"]["a"].update(other=1), ValueError),
        (change(memory="much"), TypeError),
        (change(tolerant=1), TypeError),
        (lambda job: job["settings"]["a"].update(method="guess"), UsageError),
    ],
)
def test_other_keys_and_types_are_no_job(
    damage: Callable[[dict[str, Any]], Any], error: type[Exception], tmp_path: Path
) -> None:
    Job("m", "t", {}, [], {}, [], settings={"a": SETTINGS}).write(tmp_path)
    value = json.loads((tmp_path / JOB).read_text())
    assert read(tmp_path / JOB, Job).settings == {"a": SETTINGS}
    damage(value)
    (tmp_path / JOB).write_text(json.dumps(value))
    with pytest.raises(error):
        Job.read(tmp_path)
