"""Samples drawn from a split, balanced over the classes: to calibrate on, or to train on few."""

from __future__ import annotations

import numpy as np

from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import OutputSpec

__all__ = ["CALIBRATION_SAMPLES", "draw_balanced"]

CALIBRATION_SAMPLES = 2000


def draw_balanced(
    train: Samples, output: str, spec: OutputSpec, *, seed: int, count: int = CALIBRATION_SAMPLES
) -> Samples:
    """Draw samples without replacement.

    For classes they come in rounds of one sample per class, in random order within the round, so
    that any first part is balanced too: conversion uses the first 500 unless told otherwise, and
    a prefix sorted by class would calibrate on half of the digits.

    Args:
        train: The split to draw from, raw; usually that of training.
        output: Name of the output whose targets are the classes.
        spec: That output.
        seed: Fixes the draw.
        count: At most so many samples.

    Returns:
        Raw samples with their targets.
    """
    rng = np.random.default_rng([seed, len(train)])
    order = rng.permutation(len(train))
    if spec.task in ("classification", "binary"):
        targets = np.asarray(train.targets[output]).reshape(len(train), -1)[order, 0]
        rounds = np.empty(len(train), np.int64)
        for label in np.unique(targets):
            of_class = targets == label
            rounds[of_class] = np.arange(of_class.sum())
        # Stable: within a round the random order stays.
        order = order[np.argsort(rounds, kind="stable")]
    return train.take(order[:count])
