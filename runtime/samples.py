"""Raw samples and their targets in an ``.npz`` file: the data format of runs and of users.

Keys are ``in/NAME`` and ``out/NAME``; ``x`` and ``y`` are the shorthand for one input and one
output. A text column is its UTF-8 bytes (uint8) with ``in/NAME.offsets`` (int64, N+1). Nothing is
ever unpickled.
"""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.files import write_atomic

__all__ = ["Samples", "load_samples", "save_samples"]


# An archive of 1 MB can unfold to 1 GB; a device must not try.
MAX_UNPACKED_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Samples:
    """N raw samples.

    Args:
        inputs: Input name -> ``[N, ...]`` array, or N texts as bytes.
        targets: Output name -> ``[N, ...]`` array; empty where there are no targets.

    Raises:
        InvalidDataError: No input, no sample, or columns of different length.
    """

    inputs: Mapping[str, Column]
    targets: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {
            **{f"in/{name}": len(column) for name, column in self.inputs.items()},
            **{f"out/{name}": len(column) for name, column in self.targets.items()},
        }
        if not self.inputs:
            raise InvalidDataError("The samples have no input.", expected="a key 'in/NAME' or 'x'")
        if len(set(lengths.values())) != 1:
            raise InvalidDataError(
                "The columns differ in length.", received=lengths, expected="one length"
            )
        if 0 in lengths.values():
            raise InvalidDataError(
                "The set of samples is empty.", received="0 samples", expected="at least 1"
            )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.inputs.values())))

    def take(self, indices: Sequence[int] | Array) -> Samples:
        """Return the samples at ``indices``, in that order."""
        chosen = np.asarray(indices, np.int64)

        def pick(column: Column) -> Column:
            if isinstance(column, np.ndarray):
                return column[chosen]
            return [column[int(i)] for i in chosen]

        return Samples(
            {name: pick(column) for name, column in self.inputs.items()},
            {name: column[chosen] for name, column in self.targets.items()},
        )

    def named(self, inputs: Sequence[str], outputs: Sequence[str]) -> Samples:
        """Return the samples with the shorthand keys resolved, checked against the names.

        Args:
            inputs: Names that the model's inputs have.
            outputs: Names that the model's outputs have.

        Raises:
            InvalidDataError: Names that do not fit.
        """
        columns = dict(self.inputs)
        targets = dict(self.targets)
        if set(columns) == {"x"} and len(inputs) == 1:
            columns = {inputs[0]: columns["x"]}
        if set(targets) == {"y"} and len(outputs) == 1:
            targets = {outputs[0]: targets["y"]}
        if set(columns) != set(inputs) or not set(targets) <= set(outputs):
            raise InvalidDataError(
                "The samples do not have the model's inputs and outputs.",
                received=[f"in/{n}" for n in columns] + [f"out/{n}" for n in targets],
                expected=[f"in/{n}" for n in inputs] + [f"out/{n}" for n in outputs],
            )
        return Samples(columns, targets)


def save_samples(path: Path, samples: Samples) -> None:
    """Write samples as a compressed ``.npz``, atomically."""
    arrays: dict[str, Array] = {}
    for name, column in samples.inputs.items():
        if isinstance(column, np.ndarray):
            arrays[f"in/{name}"] = column
        else:
            ends = np.cumsum([0, *(len(text) for text in column)], dtype=np.int64)
            arrays[f"in/{name}"] = np.frombuffer(b"".join(column), np.uint8)
            arrays[f"in/{name}.offsets"] = ends
    for name, target in samples.targets.items():
        arrays[f"out/{name}"] = target
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def load_samples(path: Path | str) -> Samples:
    """Read samples from an ``.npz``.

    Raises:
        InvalidDataError: The file is missing, damaged, pickled, too large or has other keys.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise InvalidDataError(
                f"{path.name} unfolds to too much.",
                received=f"{unpacked} bytes",
                expected=f"at most {MAX_UNPACKED_BYTES}",
            )
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
    except InvalidDataError:
        raise
    except OSError as error:
        raise InvalidDataError(
            f"{path} cannot be read.", received=error.strerror or error, expected="an .npz file"
        ) from None
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds on damaged archives
        raise InvalidDataError(
            f"{path} is not a usable .npz.",
            received=f"{type(error).__name__}: {error}",
            expected="arrays under 'in/NAME' and 'out/NAME' (or 'x' and 'y'), no pickles",
        ) from None
    try:
        return _from_arrays(arrays, path.name)
    except InvalidDataError as error:
        if path.name in error.message:
            raise
        raise InvalidDataError(
            f"{path.name}: {error.message}", received=error.received, expected=error.expected
        ) from None


def _from_arrays(arrays: dict[str, Array], where: str) -> Samples:
    inputs: dict[str, Column] = {}
    targets: dict[str, Array] = {}
    for key, array in arrays.items():
        if key.endswith(".offsets") and key.removesuffix(".offsets") in arrays:
            continue
        if array.ndim == 0:
            raise InvalidDataError(f"{where}: {key!r} is a single value.", expected="N samples")
        if key == "x" or key.startswith("in/"):
            offsets = arrays.get(f"{key}.offsets")
            name = key.removeprefix("in/")
            _refuse_twice(name, inputs, where)
            inputs[name] = array if offsets is None else _split(array, offsets, f"{where}: {key}")
        elif key == "y" or key.startswith("out/"):
            name = key.removeprefix("out/")
            _refuse_twice(name, targets, where)
            targets[name] = array
        else:
            raise InvalidDataError(
                f"{where} has an unknown key.",
                received=key,
                expected="'in/NAME' and 'out/NAME', or 'x' and 'y'",
            )
    return Samples(inputs, targets)


def _refuse_twice(name: str, columns: Mapping[str, object], where: str) -> None:
    if name in columns:
        raise InvalidDataError(f"{where} holds a column twice.", received=name)


def _split(data: Array, offsets: Array, where: str) -> list[bytes]:
    valid = (
        data.dtype == np.uint8
        and data.ndim == 1
        and offsets.dtype == np.int64
        and offsets.ndim == 1
        and len(offsets) >= 1
        and offsets[0] == 0
        and offsets[-1] == len(data)
        and bool((offsets[1:] >= offsets[:-1]).all())  # np.diff can overflow
    )
    if not valid:
        raise InvalidDataError(
            f"{where}: bytes and offsets do not fit.",
            expected="uint8 bytes, int64 offsets that grow from 0 to the number of bytes",
        )
    whole = data.tobytes()
    ends = [int(end) for end in offsets]
    return [whole[a:b] for a, b in itertools.pairwise(ends)]
