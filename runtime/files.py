"""Files read once and checked, written whole or not at all. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from edgeward.runtime.errors import InvalidInputError

__all__ = [
    "fsync_tree",
    "is_plain_name",
    "parse_sums",
    "read_regular",
    "render_sums",
    "sha256_bytes",
    "sha256_file",
    "write_atomic",
]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_SUM_LINE = re.compile(rb"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]{0,99})")


def is_plain_name(name: object) -> bool:
    """Tell whether ``name`` is a file name as FORMAT.md allows it: no path, no hidden file."""
    return isinstance(name, str) and _PLAIN_NAME.fullmatch(name) is not None


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file whole: no link, no device, no pipe, not above ``max_bytes``.

    Raises:
        InvalidInputError: The file is missing, special, unreadable or too large.
    """
    # O_NONBLOCK keeps a named pipe from blocking the open; O_NOFOLLOW refuses a link in one step.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(descriptor)
            # Before fdopen, which refuses a folder with an error of its own.
            if not stat.S_ISREG(found.st_mode):
                raise InvalidInputError(f"{path.name} is not a regular file.")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                # read(n) allocates n bytes at once: a limit of 2 GB there fails on small devices.
                data = file.read(min(found.st_size, max_bytes) + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InvalidInputError(
            f"{path.name} cannot be read.",
            received=error.strerror,
            expected="a regular file (no link)",
        ) from None
    if len(data) > max_bytes:
        raise InvalidInputError(f"{path.name} is too large.", expected=f"at most {max_bytes} bytes")
    return data


def render_sums(hashes: dict[str, str]) -> bytes:
    """Return the text of SHA256SUMS for file name -> hash."""
    return b"".join(f"{hashes[name]}  {name}\n".encode() for name in sorted(hashes))


def parse_sums(data: bytes) -> dict[str, str]:
    """Parse SHA256SUMS.

    Raises:
        InvalidInputError: The text is not what ``render_sums`` makes of its own content.
    """
    hashes: dict[str, str] = {}
    for line in data.split(b"\n"):
        match = _SUM_LINE.fullmatch(line)
        if match:
            hashes[match[2].decode()] = match[1].decode()
    if not hashes or render_sums(hashes) != data:
        raise InvalidInputError(
            "SHA256SUMS is damaged.", expected="sorted lines 'HASH  NAME', no name twice"
        )
    return hashes


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; an old one stays until the new one is safe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _fsync(path.parent)


def fsync_tree(folder: Path) -> None:
    """Flush everything below ``folder`` to the disk, before a rename makes it visible."""
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            _fsync(path)
    _fsync(folder)


def _fsync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        # Windows cannot open a folder; its renames are durable without it.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
