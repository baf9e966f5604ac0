"""TensorBoard logs: ``tensorboard --logdir runs`` shows them while the training goes on.

Written through TensorFlow's own event writer, so that training needs no TensorBoard installed.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from edgeward.runtime.files import write_atomic

__all__ = ["Logs", "write_history"]

_SPLITS = ("train", "validation")


class Logs:
    """The scalars of a training, one event file per split so that their curves overlay.

    Args:
        folder: Emptied first: a resumed training writes its earlier epochs anew, instead of
            leaving two versions of one epoch.
        history: Rows of the finished epochs.
    """

    def __init__(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._writers = {
            split: tf.summary.create_file_writer(str(folder / split)) for split in _SPLITS
        }
        for row in history:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """Write the row of a finished epoch."""
        for name, value in row.items():
            split, _, rest = name.partition("_")
            if split not in _SPLITS:
                split, rest = "train", name
            if name != "epoch":
                with self._writers[split].as_default():
                    _write(rest, value, int(row["epoch"]))
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()


def _write(tag: str, value: float, step: int) -> None:
    # What tf.summary.scalar does, which exists only where TensorBoard is installed.
    metadata: Any = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    metadata.data_class = 1  # DATA_CLASS_SCALAR
    tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write ``history.csv``: a header, then one row per epoch, numbers in full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)
    write_atomic(path, text.getvalue().encode())
