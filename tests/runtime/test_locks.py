"""Locks hold between processes and die with them; a folder swept meanwhile cannot be locked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import child_environment

from edgeward.runtime import locks
from edgeward.runtime.locks import LOCK, locked, take_lock

_HOLD = """
import sys
from pathlib import Path
from edgeward.runtime.locks import locked, take_lock
path = Path(sys.argv[2])
if sys.argv[1] == "take":
    lock = take_lock(path, make=True)
    print(lock is not None, flush=True)
    sys.stdin.read()
else:
    with locked(path):
        print(True, flush=True)
        sys.stdin.read()
"""


@contextmanager
def holding(how: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until it is killed, or the block ends."""
    command = [sys.executable, "-c", _HOLD, how, str(path)]
    with subprocess.Popen(
        command,
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        try:
            yield child
        finally:
            child.kill()


def asked(path: Path) -> bool:
    """Tell whether another process gets the lock of ``locked`` at once."""
    text = "import fcntl, os, sys; "
    text += "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run([sys.executable, "-c", text, path], capture_output=True, text=True)
    assert done.returncode == 0 or "BlockingIOError" in done.stderr, done.stderr
    return done.returncode == 0


def test_a_lock_that_a_process_has_is_refused_until_the_process_is_killed(tmp_path: Path) -> None:
    with holding("take", tmp_path) as child:
        assert take_lock(tmp_path, make=True) is None
        child.kill()
        child.wait()
        lock = take_lock(tmp_path, make=True)
    assert lock is not None
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    # In this process, too: it belongs to a descriptor.
    assert take_lock(tmp_path, make=False) is None
    os.close(lock)
    again = take_lock(tmp_path, make=False)
    assert again is not None
    os.close(again)


def test_without_its_file_a_lock_is_there_only_for_who_makes_it(tmp_path: Path) -> None:
    assert take_lock(tmp_path, make=False) is None
    assert not any(tmp_path.iterdir())
    assert take_lock(tmp_path / "missing", make=True) is None
    lock = take_lock(tmp_path, make=True)
    assert lock is not None
    os.close(lock)


class Sweeping:
    """The system's locks, with something done to the folder just before one is given."""

    LOCK_EX, LOCK_NB = 2, 4

    def __init__(self, act: Any) -> None:
        self._act = act

    def flock(self, _descriptor: int, _how: int) -> None:
        self._act()


def descriptors() -> int:
    """Return how many files this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_a_folder_that_is_swept_between_open_and_lock_is_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def swept() -> None:
        shutil.rmtree(folder)

    def made_anew() -> None:
        swept()
        folder.mkdir()
        # The file of the same name that another process has made meanwhile.
        (tmp_path / "other").write_text("")
        (tmp_path / "other").rename(folder / LOCK)

    for act, granted in ((swept, False), (made_anew, False), (lambda: None, True)):
        folder.mkdir(exist_ok=True)
        before = descriptors()
        with monkeypatch.context() as patched:
            patched.setattr(locks, "_system", lambda act=act: Sweeping(act))
            lock = take_lock(folder, make=True)
        assert (lock is not None) is granted
        if lock is not None:
            os.close(lock)
        assert descriptors() == before


def test_who_waits_for_a_folder_or_a_file_gets_it_when_the_holder_is_killed(
    tmp_path: Path,
) -> None:
    for path in (tmp_path, tmp_path / "some.lock"):
        with holding("wait", path) as child:
            assert not asked(path)
            child.kill()
            child.wait()
            with locked(path):
                assert not asked(path)
        # The twin: afterwards it is free.
        assert asked(path)
    assert (tmp_path / "some.lock").read_bytes() == b""


def test_the_lock_is_given_back_when_the_body_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="body"), locked(tmp_path):
        raise ValueError("body")
    assert asked(tmp_path)


def test_where_the_system_has_no_locks_each_is_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(locks.importlib, "import_module", missing)
    found = [take_lock(tmp_path, make=True) for _ in range(2)]
    assert None not in found
    with locked(tmp_path), locked(tmp_path):
        pass
    for lock in found:
        os.close(lock)


def test_a_file_system_without_locks_grants_what_is_only_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "_system", lambda: Sweeping(fail))
    lock = take_lock(tmp_path, make=True)
    assert lock is not None
    os.close(lock)
    # Who waits is told: two would write one release.
    with pytest.raises(OSError, match="No locks"), locked(tmp_path):
        pass
