"""Damage to a bundle or to the interpreter that the app must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeward.convert.bundle.android import export_assets
from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.files import render_sums, sha256_file
from edgeward.runtime.golden import Golden
from scripts.android.jvm import Java
from scripts.android.recording import Change, Outputs, opening, play

__all__ = ["HARMS", "Harm", "noticed", "seal"]


@dataclass(frozen=True)
class Harm:
    """One damage, and how the app has to notice it.

    Args:
        name: What is damaged.
        refused: The bundle must not open; otherwise the self-test must say *wrong*.
        files: Damages the files in a folder.
        outputs: Changes what the interpreter gives.
    """

    name: str
    refused: bool
    files: Callable[[Bundle], None] = lambda _: None
    outputs: Callable[[Artifact], Change] = lambda _: lambda outputs: outputs


def _flip(bundle: Bundle) -> None:
    path = bundle.path / bundle.manifest.artifact(None).file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _exchange(bundle: Bundle) -> None:
    """Give each golden input the expected outputs of the one before it, and seal that."""
    golden = bundle.golden()
    expected = [
        replace(entry, outputs={name: np.roll(v, 1, axis=0) for name, v in entry.outputs.items()})
        for entry in golden.expected
    ]
    (bundle.path / "golden.json").write_bytes(Golden(golden.inputs, expected).to_bytes())
    seal(bundle.path)


def seal(folder: Path) -> None:
    """Write SHA256SUMS anew, as somebody who tampers would."""
    files = [path for path in folder.iterdir() if path.name != "SHA256SUMS"]
    sums = render_sums({path.name: sha256_file(path) for path in files})
    (folder / "SHA256SUMS").write_bytes(sums)


def _other(artifact: Artifact) -> Change:
    """Answer as an interpreter does that computes something else."""

    def change(outputs: Outputs) -> Outputs:
        return {name: _moved(value, artifact.max_lsb + 1) for name, value in outputs.items()}

    return change


def _moved(value: Array, steps: int) -> Array:
    if value.shape[-1] > 1:
        return np.roll(value, 1, axis=-1)
    if value.dtype.kind == "f":
        # Far beyond any max_lsb, which is in 2^-17 of the largest value.
        return value + 1 + np.abs(value)
    limits = np.iinfo(value.dtype)
    middle = (int(limits.min) + limits.max) // 2
    wide = value.astype(np.int64)
    moved = np.where(wide > middle, wide - steps, wide + steps)
    return moved.clip(limits.min, limits.max).astype(value.dtype)


HARMS = (
    Harm("one bit of the model", refused=True, files=_flip),
    Harm("golden outputs exchanged, sealed again", refused=False, files=_exchange),
    Harm("another interpreter's outputs", refused=False, outputs=_other),
)


def noticed(app: Java, harm: Harm, bundle: Bundle, folder: Path) -> bool:
    """Damage a copy of a bundle and tell whether the app notices.

    Args:
        app: The compiled logic.
        harm: What to do.
        bundle: Stays as it is.
        folder: Gets the copy.
    """
    copy = Bundle.open(export_assets(bundle, folder))
    chosen = copy.manifest.artifact(None)
    record = folder / "record.json"
    # Before the files are damaged: Python would not open them either.
    play(copy, record, harm.outputs(chosen), own_name=True)
    harm.files(copy)
    (opened,) = app.answers([opening(copy, record)])
    if "error" in opened:
        # For this very reason: whatever runs the model may refuse it later for another one.
        return harm.refused and "is damaged" in opened["message"]
    return not harm.refused and opened[chosen.id]["verdict"] == "wrong"
