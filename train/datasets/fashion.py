"""Fashion-MNIST: 70,000 photographs of clothes, 28 x 28 pixels (Xiao, Rasul, Vollgraf; MIT).

Sources, first to last: the verified cache, Keras' official copy, and the Debian package that
carries the four original files.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgeward.runtime.errors import InvalidDataError
from edgeward.train.datasets import idx
from edgeward.train.datasets.cache import KnownFile, Say
from edgeward.train.datasets.dataset import Dataset

__all__ = ["FILES", "LABELS", "NAME", "load"]

NAME = "fashion_mnist"
LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# The four original files, uncompressed: whoever packs them compresses them anew.
_KEYS = {
    "x_train": KnownFile(
        "train-images-idx3-ubyte",
        47_040_016,
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "y_train": KnownFile(
        "train-labels-idx1-ubyte",
        60_008,
        "9018921c3c673c538a1fc5bad174d6f9",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "x_test": KnownFile(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "8181f5470baa50b63fa0f6fddb340f0a",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "y_test": KnownFile(
        "t10k-labels-idx1-ubyte",
        10_008,
        "15d484375f8d13e6eb1aabb0c3f46965",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
FILES = tuple(_KEYS.values())

_DEBIAN_PACKAGE = "dataset-fashion-mnist"


def load(path: Path | None, say: Say) -> Dataset:
    """Load Fashion-MNIST as raw samples: ``image`` uint8 [N, 28, 28, 1], ``garment`` int64 [N].

    The validation split is the last tenth of the training images, so 54,000 + 6,000 + 10,000.

    Args:
        path: A folder with the four IDX files, plain or .gz; None takes the first source that
            answers.
        say: Told in one line where the data come from.

    Raises:
        InvalidDataError: No source gave the known bytes; says what was tried.
    """
    if path is not None:
        found = idx.parse(_KEYS, idx.read_folder(path, "Fashion-MNIST", _KEYS), str(path))
        say(f"Data: Fashion-MNIST from {path}.")
        return idx.to_dataset(NAME, found, "garment")
    try:
        found = idx.fetch(NAME, "Fashion-MNIST", _KEYS, _SOURCES, say)
    except idx.SourceError as error:
        raise InvalidDataError(
            "Fashion-MNIST is nowhere to be found.",
            received=error,
            fix="connect to the network; where there is no apt-get (it is part of Debian and "
            "Ubuntu), give a folder with the four IDX files: --data FOLDER",
        ) from None
    return idx.to_dataset(NAME, found, "garment")


def _from_keras() -> dict[str, bytes]:
    import keras

    return idx.from_keras(keras.datasets.fashion_mnist.load_data, _KEYS)


def _from_debian() -> dict[str, bytes]:
    """Fetch the package as any user; nothing is installed and nothing is extracted to the disk."""
    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        folder = Path(name)
        idx.run_client("apt-get", "download", "--quiet", _DEBIAN_PACKAGE, folder=folder)
        packages = list(folder.glob("*.deb"))
        if len(packages) != 1:
            raise idx.SourceError("apt-get download left no package")
        tar = idx.run_client("dpkg-deb", "--fsys-tarfile", str(packages[0]), folder=folder)
    try:
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            prefix = "./usr/share/datasets/fashion-mnist/"
            return idx.read_members(archive, prefix, _KEYS, packed=True)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise idx.SourceError(idx.one_line(error)) from None


_SOURCES: Mapping[str, idx.Fetch] = {
    "the official source (keras.datasets.fashion_mnist)": _from_keras,
    f"Debian package {_DEBIAN_PACKAGE}": _from_debian,
}
