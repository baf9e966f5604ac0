"""What people choose besides the recipe and its hyper-parameters. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgeward.runtime.errors import UsageError

__all__ = ["Options"]

# Where a training goes and what it runs on may differ when it is resumed; the rest decides its
# result.
_FREE = ("out", "device")
_PATHS = ("data", "init")


@dataclass(frozen=True)
class Options:
    """Choices that every recipe has.

    Args:
        out: Folder that holds the runs.
        data: Where the data set is, or None for its own sources.
        seed: Fixes weights, order and augmentation; on a CPU the same seed gives the same bits.
        device: ``auto``, ``cpu`` or ``gpu``.
        precision: ``auto``, ``float32`` or ``mixed``.
        h5: Write ``model.h5`` as well.
        augment: Change the training samples at random, as the recipe says.
        patience: End after so many epochs in a row without a better validation metric, and keep
            the best weights; 0 trains all epochs and keeps the last.
        samples: Train on so many samples only, drawn class by class; 0 is all.
        init: A finished run whose preprocessing and layers are taken over, or None.
        freeze: Epochs that train the new head alone; None is an eighth of all.
        explain: Write pictures of what decided so many test samples.
        save_every: Save a state to resume from every so many steps, besides each epoch's end;
            0 is never.

    Raises:
        UsageError: A value out of range.
    """

    out: Path = Path("runs")
    data: Path | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    h5: bool = False
    augment: bool = True
    patience: int = 0
    samples: int = 0
    init: Path | None = None
    freeze: int | None = None
    explain: int = 0
    save_every: int = 0

    def __post_init__(self) -> None:
        if self.freeze is not None and self.init is None:
            raise UsageError(
                "There is nothing to freeze.", received="--freeze", expected="--freeze with --init"
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError("The seed is out of range.", received=self.seed, expected="0..2^32-1")
        for name in ("patience", "samples", "freeze", "explain", "save_every"):
            if (getattr(self, name) or 0) < 0:
                raise UsageError(
                    f"--{name.replace('_', '-')} is wrong.",
                    received=getattr(self, name),
                    expected="a whole number >= 0",
                )

    def to_json(self) -> dict[str, Any]:
        """Return what decides the result, name -> value."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _FREE}
        paths = {name: getattr(self, name) for name in _PATHS}
        return values | {name: path and str(path.resolve()) for name, path in paths.items()}

    def resumed(self, saved: Mapping[str, Any]) -> Options:
        """Return these options with the saved values of ``to_json`` put in."""
        paths = {name: saved[name] and Path(saved[name]) for name in _PATHS}
        return replace(self, **{**saved, **paths})
