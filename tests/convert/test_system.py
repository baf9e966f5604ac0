"""Train and convert say at once that they need Linux or macOS; the runtime needs neither."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from edgeward.convert import cli as convert_cli
from edgeward.convert.pipeline import convert
from edgeward.runtime import cli as runtime_cli
from edgeward.runtime import system
from edgeward.runtime.errors import InvalidRunError, UsageError
from edgeward.train import cli as train_cli


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(system, "sys", SimpleNamespace(platform="win32"))


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(convert_cli.main, ["--int8"]), (train_cli.main, ["mnist_cnn"])],
)
@pytest.mark.usefixtures("windows")
def test_command_line_says_at_once_what_it_needs(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == UsageError.exit_code
    said = capsys.readouterr().err
    assert "needs Linux or macOS" in said
    assert "win32" in said


def test_function_says_it_too(windows: None) -> None:
    with pytest.raises(UsageError, match="convert needs Linux or macOS"):
        convert("runs/none")


def test_nothing_is_said_where_it_works(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """The twin: on this system the run is looked for."""
    with pytest.raises(InvalidRunError):
        convert(f"{tmp_path}/none")
    assert train_cli.main(["--list"]) == 0


@pytest.mark.usefixtures("windows")
def test_runtime_runs_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert runtime_cli.main(["verify", "no-bundle"]) != 0
    assert "needs Linux" not in capsys.readouterr().err
