"""What a generator learns from: noise on one side, real images on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.samples import Samples
from edgeward.train.datasets.dataset import Dataset

__all__ = ["GeneratorDataset", "draw_noise", "pair_with_noise"]

# Noise for validation and test: pairs to compare an artifact with the float model.
_PAIRS = 1000


@dataclass(frozen=True, kw_only=True)
class GeneratorDataset(Dataset):
    """Noise vectors; the training split's targets are the real images, which are no pairs.

    Args:
        real: Split -> its real images with their classes.
    """

    real: Mapping[str, Samples]


def pair_with_noise(
    dataset: Dataset, images: str, size: int, names: tuple[str, str]
) -> GeneratorDataset:
    """Return noise for a data set of images.

    Args:
        dataset: Has an image input and classes.
        images: Name of that input.
        size: Numbers per noise vector.
        names: Names of the generator's input and output.

    Returns:
        As many noise vectors for training as there are images, 1,000 for each other split.
    """
    noise, output = names
    counts = {"train": len(dataset.train), "validation": _PAIRS, "test": _PAIRS}
    drawn = {
        split: {noise: draw_noise(count, size, seed)}
        for seed, (split, count) in enumerate(counts.items())
    }
    return GeneratorDataset(
        name=dataset.name,
        source=dataset.source,
        sha256=dataset.sha256,
        train=Samples(drawn["train"], {output: np.asarray(dataset.train.inputs[images])}),
        validation=Samples(drawn["validation"]),
        test=Samples(drawn["test"]),
        real=dataset.splits,
    )


def draw_noise(count: int, size: int, seed: int) -> Array:
    """Return normal noise, float32 [count, size]; the same seed gives the same noise."""
    return np.random.default_rng([2014, seed]).standard_normal((count, size), np.float32)
