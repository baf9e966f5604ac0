"""Runtimes in the field read what is written today, and refuse what they would misread.

``tests/golden/reader-v1.zip`` is ``edgeward.runtime`` as it was when version 1 was all there was;
Python imports it from there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import REPOSITORY, child_environment

READER = REPOSITORY / "tests" / "golden" / "reader-v1.zip"
SCRIPT = """
import json, sys
from edgeward import runtime
from edgeward.runtime.errors import EdgewardError
try:
    found = [(c.artifact, c.verdict) for c in runtime.selftest(sys.argv[1])]
except EdgewardError as error:
    found = str(error)
print(json.dumps([runtime.__file__, found]))
"""


def read_by_version_1(bundle: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(bundle)],
        cwd=bundle.parent,
        env={**child_environment(), "PYTHONPATH": str(READER)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    file, found = json.loads(done.stdout.splitlines()[-1])
    assert file.startswith(str(READER))
    return found


def test_a_reader_of_version_1_opens_and_checks_a_new_bundle(bundle: Path) -> None:
    assert json.loads((bundle / "manifest.json").read_bytes())["format_version"] == 1
    found = read_by_version_1(bundle)
    assert {artifact for artifact, _ in found} == {
        *("tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8")
    }
    assert {verdict for _, verdict in found} == {"exact"}


@pytest.mark.parametrize("limits", [{}, {"digit": [{"lsb": 0, "values": 3}]}], ids=str)
def test_a_reader_of_version_1_refuses_version_2(
    copy: Path, edit: Callable[..., None], limits: dict[str, Any]
) -> None:
    """The twin: it does not check such a bundle by half of its tolerance."""

    def version_2(tree: Any) -> None:
        tree["format_version"] = 2
        for artifact in tree["artifacts"]:
            artifact["tolerance"] = limits
            artifact["max_lsb"] += 1

    edit(copy, "manifest.json", version_2)
    assert "is wrong" in (said := read_by_version_1(copy)) or "wrong keys" in said
