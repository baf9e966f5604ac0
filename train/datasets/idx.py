"""Data sets that are four IDX files, the format of MNIST: images and labels, training and test.

Whatever source they come from, the bytes are those that the world knows or the source is refused.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import shutil
import socket
import struct
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples
from edgeward.train.datasets.cache import KnownFile, Say, cache_folder, read_cached, write_cache
from edgeward.train.datasets.dataset import Dataset

__all__ = [
    "Fetch",
    "IdxArrays",
    "SourceError",
    "fetch",
    "from_keras",
    "one_line",
    "parse",
    "read_folder",
    "read_members",
    "run_client",
    "to_dataset",
    "to_idx",
]

_CLIENT_SECONDS = 180
_SOCKET_SECONDS = 10.0

# Returns the content of the four files by name, verified by nobody yet.
Fetch = Callable[[], dict[str, bytes]]


class SourceError(Exception):
    """A source did not give the data, for the reason in the message."""


@dataclass(frozen=True)
class IdxArrays:
    """The verified arrays.

    Args:
        arrays: ``x_train``, ``x_test``: uint8 [N, 28, 28]; ``y_train``, ``y_test``: uint8 [N].
        source: Where they came from, in words.
        sha256: Hash of the four files one after the other, or of the subset's file.
    """

    arrays: Mapping[str, Array]
    source: str
    sha256: str


def fetch(
    name: str, title: str, files: Mapping[str, KnownFile], sources: Mapping[str, Fetch], say: Say
) -> IdxArrays:
    """Return the arrays from the verified cache, else from the first source that has them.

    Args:
        name: Name of the cache folder.
        title: Name of the data set for people.
        files: ``x_train``, ``y_train``, ``x_test``, ``y_test`` -> file.
        sources: Name -> what fetches the files, in the order to try.
        say: Told in one line where the data come from, and which source does not answer.

    Raises:
        SourceError: No source gave the known bytes; says what each answered.
    """
    folder = cache_folder(name)
    known = tuple(files.values())
    cached = read_cached(folder, known, say)
    if cached is not None:
        say(f"Data: {title} from the cache {folder}.")
        return parse(files, cached, "cache of the original files")
    tried: list[str] = []
    for source, ask in sources.items():
        try:
            contents = ask()
            _verify(known, contents, source)
        except SourceError as error:
            tried.append(f"{source}: {error}")
            say(f"Data: {source} does not answer ({error}).")
            continue
        write_cache(folder, contents, say)
        say(f"Data: {title} from {source}, kept in {folder}.")
        return parse(files, contents, source)
    raise SourceError("; ".join(tried))


def to_dataset(name: str, found: IdxArrays, output: str) -> Dataset:
    """Return raw samples: ``image`` uint8 [N, 28, 28, 1] and ``output`` int64 [N].

    The validation split is the last tenth of the training images.
    """
    labels = {key: found.arrays[key].astype(np.int64) for key in ("y_train", "y_test")}
    images = {key: found.arrays[key][..., None] for key in ("x_train", "x_test")}
    cut = len(labels["y_train"]) * 9 // 10

    def split(key: str, rows: slice) -> Samples:
        return Samples({"image": images[f"x_{key}"][rows]}, {output: labels[f"y_{key}"][rows]})

    return Dataset(
        name=name,
        source=found.source,
        sha256=found.sha256,
        train=split("train", slice(cut)),
        validation=split("train", slice(cut, None)),
        test=split("test", slice(None)),
    )


def from_keras(load_data: Callable[[], Any], files: Mapping[str, KnownFile]) -> dict[str, bytes]:
    """Return the files that the arrays of a ``keras.datasets`` module make.

    Raises:
        SourceError: The download failed.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SOCKET_SECONDS)
    try:
        # Keras draws its progress on standard output, which belongs to --json.
        with contextlib.redirect_stdout(io.StringIO()):
            (x_train, y_train), (x_test, y_test) = load_data()
    except Exception as error:  # Keras raises bare Exception when a download fails
        raise SourceError(one_line(error)) from None
    finally:
        socket.setdefaulttimeout(before)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return {files[key].name: to_idx(array) for key, array in arrays.items()}


def run_client(program: str, *arguments: str, folder: Path) -> bytes:
    """Run the client of a package registry in ``folder`` and return its standard output.

    Raises:
        SourceError: It is not installed, fails or does not answer in time.
    """
    found = shutil.which(program)
    if found is None:
        raise SourceError(f"{program} is not installed")
    try:
        return subprocess.run(
            [found, *arguments],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=_CLIENT_SECONDS,
        ).stdout
    except subprocess.TimeoutExpired:
        raise SourceError(f"no answer in {_CLIENT_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace") or f"exit code {error.returncode}"
        raise SourceError(one_line(said)) from None
    except OSError as error:
        raise SourceError(one_line(error)) from None


def read_members(
    archive: tarfile.TarFile, prefix: str, files: Mapping[str, KnownFile], *, packed: bool
) -> dict[str, bytes]:
    """Read four members; never extract, since a member's path may leave the folder.

    Args:
        archive: An open archive.
        prefix: What stands before the file names in the archive.
        files: The files.
        packed: The members are the files with ``.gz``.

    Raises:
        SourceError: A member is missing.
    """
    contents: dict[str, bytes] = {}
    for file in files.values():
        name = f"{prefix}{file.name}" + (".gz" if packed else "")
        try:
            member = archive.extractfile(archive.getmember(name))
        except KeyError:
            member = None
        if member is None:
            raise SourceError(f"there is no file {name} in the package")
        stream = gzip.GzipFile(fileobj=member) if packed else member
        with stream:
            contents[file.name] = stream.read(file.size + 1)
    return contents


def _verify(files: tuple[KnownFile, ...], contents: Mapping[str, bytes], source: str) -> None:
    for file in files:
        if not file.matches(contents[file.name]):
            raise SourceError(f"{file.name} from {source} has the wrong checksum")


def read_folder(folder: Path, title: str, files: Mapping[str, KnownFile]) -> dict[str, bytes]:
    """Read the four files of a user's folder, plain or .gz.

    Raises:
        InvalidDataError: A file is missing, damaged or another one; names it.
    """
    contents: dict[str, bytes] = {}
    for file in files.values():
        plain, packed = folder / file.name, folder / f"{file.name}.gz"
        try:
            if plain.exists():
                data = plain.read_bytes()
            else:
                with gzip.open(packed) as stream:
                    data = stream.read(file.size + 1)
        except (OSError, EOFError) as error:
            raise InvalidDataError(
                f"{file.name} cannot be read in {folder}.",
                received=one_line(error),
                expected="four IDX files, plain or .gz: "
                + ", ".join(known.name for known in files.values()),
            ) from None
        if not file.matches(data):
            raise InvalidDataError(
                f"{folder / file.name} is damaged or not {title}.",
                received=f"{len(data)} bytes, md5 "
                + hashlib.md5(data, usedforsecurity=False).hexdigest(),
                expected=f"{file.size} bytes, md5 {file.md5}",
            )
        contents[file.name] = data
    return contents


def parse(files: Mapping[str, KnownFile], contents: Mapping[str, bytes], source: str) -> IdxArrays:
    """Parse verified IDX files: a header of big-endian sizes, then the bytes."""
    arrays: dict[str, Array] = {}
    digest = hashlib.sha256()
    for key, file in files.items():
        data = contents[file.name]
        rank = data[3]
        shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
        arrays[key] = np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
        digest.update(data)
    return IdxArrays(arrays, source, digest.hexdigest())


def to_idx(array: Array) -> bytes:
    """Return the IDX file of a uint8 array, to compare its checksum with the original's."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def one_line(text: object) -> str:
    """Return the last line of what a program said, at most 200 characters."""
    lines = str(text).strip().splitlines() or [type(text).__name__]
    return lines[-1][:200]
