"""The workflow of docs/ci.md, run by the script that plays a pull request with it."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from support import REPOSITORY, RunPython, load_script

SCRIPT = REPOSITORY / "scripts" / "pull_request_example.py"


def load() -> ModuleType:
    return load_script(SCRIPT)


def test_script_runs_the_commands_of_the_page() -> None:
    (command,) = load().steps()
    page = (REPOSITORY / "docs" / "ci.md").read_text()
    assert f"run: {command}\n" in page
    assert command.startswith("python -m convert ")
    assert command.endswith('--markdown >> "$GITHUB_STEP_SUMMARY"')
    # An expression of GitHub's would be run by no shell as it stands.
    assert "${{" not in command


@pytest.mark.slow
def test_main_passes_and_the_pull_request_that_drifts_fails(run_python: RunPython) -> None:
    done = run_python(SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^--- (\S+): exit (\d+)", done.stdout, re.MULTILINE) == [
        ("main", "0"),
        ("main", "0"),
        ("night-pictures", "3"),
    ]
    main, again, pull = re.split(r"^--- \S+$", done.stdout, flags=re.MULTILINE)[1:]
    assert ": within budget\n" in main
    assert "the last conversion was reused" in again
    # The cause, in the words of the report: what the samples are, and where the signal is lost.
    assert "in the calibration samples but over 0..1 in the test samples" in pull
    assert "layer image (INPUT) keeps" in pull
    assert "clip" not in main
