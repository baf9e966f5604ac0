"""What every format is made from: the loaded model, its equalised form, samples, a folder.

TensorFlow is imported by what is made here, not by importing this file: the file of a small format
may hold how its files are read as well, which needs no TensorFlow.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeward.convert.settings import Settings, Switches
from edgeward.convert.variants import Variant
from edgeward.runtime.arrays import Array

if TYPE_CHECKING:
    from edgeward.convert.model.loaded import LoadedModel

__all__ = ["Maker", "Models"]


class Models:
    """One loaded model and what is made from it once for all formats.

    Args:
        loaded: The model.
        samples: Input name -> preprocessed calibration samples ``[N, ...]``.
        switches: What the target needs of the converter.
        folder: For files in between.

    Attributes:
        loaded: The model.
        switches: What the target needs of the converter.
        folder: For files in between.
        recurrent: Names of its recurrent layers.
    """

    def __init__(
        self, loaded: LoadedModel, samples: Mapping[str, Array], switches: Switches, folder: Path
    ) -> None:
        self.loaded = loaded
        self.switches = switches
        self.folder = folder
        self.recurrent = loaded.recurrent
        self._samples = samples
        self._models: dict[bool, LoadedModel] = {False: loaded}

    def samples(self, settings: Settings) -> dict[str, Array]:
        """Return the samples to calibrate with: input name -> ``[N, ...]``."""
        return {name: array[: settings.samples] for name, array in self._samples.items()}

    def model(self, equal: bool) -> LoadedModel:
        """Return the model, with channels equalised or as it is."""
        from edgeward.convert.weights.equalise import equalised

        if equal not in self._models:
            # From all samples, however many the ranges come from: it only knows the extremes.
            self._models[equal] = equalised(self.loaded, self._samples)
        return self._models[equal]


class Maker(abc.ABC):
    """Makes the artifacts of one format; what several of them start from is made once.

    Args:
        models: What they are made from.
    """

    def __init__(self, models: Models) -> None:
        self.models = models

    def nearest(self, variant: Variant) -> tuple[Variant, str]:
        """Return the nearest variant that the model can have, and why where it is another one."""
        return variant, ""

    @abc.abstractmethod
    def make(self, variant: Variant, settings: Settings) -> tuple[bytes, bool]:
        """Return the file, and whether it keeps state between invocations.

        Args:
            variant: How to quantise; one that ``nearest`` gives.
            settings: Calibration, and layers in float.

        Raises:
            TargetError: The format cannot hold the model as this variant.
        """
