"""A bundle is replaced in one step, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import child_environment

from edgeward.convert.bundle import write
from edgeward.convert.bundle.write import (
    REPORTS,
    check_target,
    previous_release,
    remove_refusal,
    write_bundle,
)
from edgeward.runtime.bundle import SUMS, Bundle
from edgeward.runtime.errors import InvalidBundleError, UsageError


@pytest.fixture
def files(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.iterdir() if path.name != SUMS}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_bundle_appears_whole(files: dict[str, bytes], tmp_path: Path) -> None:
    write_bundle(tmp_path / "out" / "mnist", files)
    assert set(Bundle.open(tmp_path / "out" / "mnist").verify()) == {SUMS, *files}
    assert names(tmp_path / "out") == ["mnist"]
    assert previous_release(tmp_path / "out" / "mnist") == 1
    assert previous_release(tmp_path / "out" / "other") == 0


@pytest.mark.parametrize("exchange", [True, False])
def test_old_bundle_is_replaced_and_nothing_is_left(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(write, "_exchange", lambda a, b: False)
    write_bundle(tmp_path / "mnist", files)
    write_bundle(tmp_path / "mnist", {**files, "labels.txt": b"changed\n"})
    assert (tmp_path / "mnist" / "labels.txt").read_bytes() == b"changed\n"
    Bundle.open(tmp_path / "mnist").verify()
    assert names(tmp_path) == ["mnist"]


def test_invalid_bundle_is_never_put_in_place(files: dict[str, bytes], tmp_path: Path) -> None:
    write_bundle(tmp_path / "mnist", files)
    with pytest.raises(InvalidBundleError):
        write_bundle(tmp_path / "mnist", {**files, "tflite-int8.tflite": b"damaged"})
    Bundle.open(tmp_path / "mnist").verify()
    assert names(tmp_path) == ["mnist"]


def test_reader_finds_the_previous_bundle_between_two_renames(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "mnist", files)
    (tmp_path / "mnist").rename(tmp_path / ".mnist.previous")
    Bundle.open(tmp_path / "mnist").verify()
    write_bundle(tmp_path / "mnist", files)
    assert names(tmp_path) == ["mnist"]


def test_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path, bundle: Path) -> None:
    """`--out runs` would put the bundle where the runs of the recipe are."""
    runs = tmp_path / "runs" / "mnist_cnn"
    (runs / "001").mkdir(parents=True)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(bundle)
    for path in (runs, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(UsageError, match="would replace"):
            check_target(path)
    check_target(bundle)
    check_target(tmp_path / "new" / "mnist")
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty")


def test_report_of_a_refusal_is_removed_but_no_file_of_the_user(tmp_path: Path) -> None:
    for name, kept in (("a.refused", []), ("b.refused", ["notes.txt"])):
        folder = tmp_path / name
        folder.mkdir()
        for file in (*REPORTS, *kept):
            (folder / file).write_text("x")
        remove_refusal(folder)
        assert folder.exists() == bool(kept)
        assert not kept or names(folder) == kept


def test_killed_writers_leave_a_whole_bundle(bundle: Path, tmp_path: Path) -> None:
    """Kill a process that replaces the bundle again and again, at arbitrary moments."""
    script = (
        "import sys; from pathlib import Path\n"
        "from edgeward.convert.bundle.write import write_bundle\n"
        "files = {p.name: p.read_bytes() for p in Path(sys.argv[1]).iterdir()"
        " if p.name != 'SHA256SUMS'}\n"
        "print('ready', flush=True)\n"
        "while True: write_bundle(Path(sys.argv[2]), files)\n"
    )
    target = tmp_path / "mnist"
    for delay in (0.0, 0.01, 0.05, 0.1, 0.2, 0.35):
        process = subprocess.Popen(
            [sys.executable, "-c", script, bundle, target],
            env=child_environment(),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if target.exists():
            Bundle.open(target).verify()
    # The next writer sweeps up what the killed ones left.
    files = {p.name: p.read_bytes() for p in bundle.iterdir() if p.name != SUMS}
    write_bundle(target, files)
    assert names(tmp_path) == ["mnist"]
