"""Make train/datasets/mnist_subset.npz: the real digits that need no network.

The first 600 training and 150 test images of each digit, in the order of the files, interleaved
so that every block of ten holds each digit once: any slice is balanced. Running it again gives
the same bytes (npz entries carry no time; LZMA, since zlib's output depends on its version).

Usage: python scripts/make_mnist_subset.py [--data FOLDER] [OUTPUT]
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgeward.runtime.files import sha256_bytes, write_atomic
from edgeward.train.datasets import mnist

TRAIN_PER_CLASS = 600
TEST_PER_CLASS = 150


def first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the first ``count`` images of each digit, digits interleaved."""
    by_digit = np.stack([np.flatnonzero(labels == digit)[:count] for digit in range(10)])
    return by_digit.T.ravel()


def render(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of an npz file, the same ones each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_LZMA
            archive.writestr(info, entry.getvalue())
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the four IDX files")
    parser.add_argument("output", type=Path, nargs="?", default=mnist.SUBSET)
    arguments = parser.parse_args()
    arrays = mnist.load_arrays(arguments.data, lambda line: print(line, file=sys.stderr)).arrays
    train = first_of_each(arrays["y_train"], TRAIN_PER_CLASS)
    test = first_of_each(arrays["y_test"], TEST_PER_CLASS)
    data = render(
        {
            "x_train": arrays["x_train"][train],
            "y_train": arrays["y_train"][train],
            "x_test": arrays["x_test"][test],
            "y_test": arrays["y_test"][test],
        }
    )
    write_atomic(arguments.output, data)
    print(f"{arguments.output}: {len(data)} bytes, sha256 {sha256_bytes(data)}")


if __name__ == "__main__":
    main()
