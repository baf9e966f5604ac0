"""How much memory there is: the machine's, or what a container leaves of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeward.convert.worker.memory import default_memory, memory_of_machine

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
SMALL = 300 * 2**20
# What version 1 writes where there is no limit.
NONE = 9223372036854771712


def given(folder: Path, own: str, **limits: object) -> int:
    """Return what is found where these groups have these limits: "/" is "_" in a keyword."""
    for name, limit in limits.items():
        *groups, file = name.split("_")
        path = (
            folder.joinpath(*groups) / {"max": "memory.max", "bytes": "memory.limit_in_bytes"}[file]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{limit}\n")
    (folder / "own").write_text(own)
    return memory_of_machine(folder, folder / "own")


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        ("0::/\n", {"max": SMALL}),
        ("0::/box/worker\n", {"box_worker_max": SMALL}),
        ("0::/box/worker\n", {"box_max": SMALL, "box_worker_max": 2 * SMALL}),
        # A container that sees the path of its host, where only the top is its own.
        ("0::/docker/0123\n", {"max": SMALL}),
        ("5:cpu:/\n4:memory:/\n", {"memory_bytes": SMALL}),
        ("4:cpu,memory:/box\n0::/\n", {"memory_box_bytes": SMALL, "memory_bytes": NONE}),
        ("4:memory:/docker/0123\n", {"memory_bytes": SMALL}),
    ],
)
def test_smallest_limit_of_the_groups_around_this_process_counts(
    tmp_path: Path, own: str, limits: dict[str, object]
) -> None:
    assert given(tmp_path, own, **limits) == SMALL


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        ("", {}),
        ("0::/\n", {"max": "max"}),
        ("0::/\n", {"max": 2 * MACHINE}),
        ("4:memory:/\n", {"memory_bytes": NONE}),
        # Another group than this process is in.
        ("0::/box\n", {"other_max": SMALL}),
        ("4:cpu:/box\n", {"memory_box_bytes": SMALL}),
        ("damaged\n", {"max": "a lot"}),
    ],
)
def test_machine_counts_where_no_group_has_less(
    tmp_path: Path, own: str, limits: dict[str, object]
) -> None:
    """The twin."""
    assert given(tmp_path, own, **limits) == MACHINE
    assert default_memory() <= 0.9 * MACHINE
