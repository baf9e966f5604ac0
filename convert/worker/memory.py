"""The memory that a worker process may take, and how to tell that it had too little.

A limit is met in many ways: ``MemoryError`` and ``std::bad_alloc``, but also a primitive that
oneDNN "could not create" and a message that protobuf "failed to serialize". So the parent also
watches how near to its limit the process was.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from edgeward.runtime.errors import ConverterError, EdgewardError

__all__ = [
    "data_size",
    "default_memory",
    "is_transient",
    "limit_memory",
    "memory_error",
    "memory_of_machine",
    "says_memory",
    "showed_limit",
]

_GB = 2**30

# Of the machine's memory: what a converter may take before the machine itself suffers.
_SHARE = 0.9

_CGROUPS = Path("/sys/fs/cgroup")

_OWN_CGROUPS = Path("/proc/self/cgroup")

# Peak over limit from which a crash is laid to the limit: the allocation that failed is not in the
# peak, and the parent looks a few times a second only.
_NEAR = 0.8

_WORDS = re.compile(
    r"MemoryError|bad_alloc|RESOURCE_EXHAUSTED|ResourceExhausted|OOM when allocating|"
    r"[Oo]ut of memory|[Cc]annot allocate memory(?! in static TLS)|failed to map segment|"
    r"[Ff]ailed to allocate memory"
)


def default_memory() -> int:
    """Return the bytes that a worker may take on this machine; 0 where that is not known."""
    return int(_SHARE * memory_of_machine())


def memory_of_machine(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return the bytes of memory that there are: the machine's, or less where a container has less.

    Args:
        cgroups: Where Linux shows its control groups, version 1 or 2.
        own: The file that says in which of them this process is.

    Returns:
        Bytes; 0 where nothing is known.
    """
    known = list(_cgroup_limits(cgroups, own))
    with contextlib.suppress(ValueError, OSError):  # a system that does not say it
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((size for size in known if size > 0), default=0)


def _cgroup_limits(cgroups: Path, own: Path) -> Iterator[int]:
    """Give the limit of each group that this process is in, and of the groups around it."""
    # Where nothing is said, and in a container that hides its own path: the group at the top.
    found = {(cgroups, "memory.max", "/"), (cgroups / "memory", "memory.limit_in_bytes", "/")}
    for line in _read(own).splitlines():
        # "0::/path" in version 2, "9:cpu,memory:/path" in version 1.
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        if not controllers:
            found.add((cgroups, "memory.max", path))
        elif "memory" in controllers.split(","):
            found.add((cgroups / "memory", "memory.limit_in_bytes", path))
    for top, name, path in found:
        folder = top / path.strip("/")
        while folder.is_relative_to(top):
            text = _read(folder / name).strip()
            # "max" is no limit, and so is the largest number that version 1 knows.
            if text.isdigit():
                yield int(text)
            folder = folder.parent


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # no Linux, or no such group
        return ""


def limit_memory(size: int) -> None:
    """Let an allocation beyond ``size`` bytes fail in this process, instead of the machine.

    To be called after TensorFlow was imported: below what that takes, the import may go round in
    circles for minutes.

    Args:
        size: Bytes of data; 0 is no limit.

    Raises:
        ConverterError: The process has taken more already.
    """
    if not size:
        return
    # Not on Windows, which reads reports but converts nothing.
    import resource

    taken = data_size()
    if taken >= size:
        raise memory_error("load TensorFlow", size, f"TensorFlow alone takes {_show(taken)}")
    # Data, not address space: TensorFlow reserves far more addresses than it uses.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def data_size(process: int | str = "self") -> int:
    """Return the bytes that count against the limit of a process; 0 where that is not known."""
    try:
        found = re.search(r"VmData:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:  # no Linux, or the process is gone
        return 0
    return int(found[1]) * 1024 if found else 0


def says_memory(text: str) -> bool:
    """Tell whether a message or a log says that there was too little memory."""
    return bool(_WORDS.search(text))


def is_transient(error: EdgewardError) -> bool:
    """Tell whether asking again may help: the error says so, or a library that ran out of memory.

    What it received may be the words of a library; its own message is never looked at.
    """
    return error.transient or (error.received is not None and says_memory(str(error.received)))


def showed_limit(peak: int, limit: int) -> bool:
    """Tell whether a process that crashed was so near to its limit that this is the likely cause.

    Args:
        peak: Most bytes seen.
        limit: Bytes allowed; 0 is no limit.
    """
    return bool(limit) and peak >= _NEAR * limit


def memory_error(place: str, limit: int, seen: str) -> ConverterError:
    """Make the error of a worker that had too little memory.

    Args:
        place: Stage and artifact.
        limit: Bytes allowed; 0 is no limit.
        seen: What was found.
    """
    return ConverterError(
        f"The converter ran out of memory while it was at: {place}.",
        received=f"{f'a limit of {_show(limit)}' if limit else 'no limit'}; {seen}",
        expected="memory for TensorFlow (about 0.5 GB) and the model several times over",
        fix="allow more: --memory GB (0: no limit)" if limit else "a machine with more memory",
        transient=True,
    )


def _show(size: int) -> str:
    return f"{size / _GB:.2f} GB"
