"""Samples drawn from a split, balanced over the classes: to calibrate on, or to train on few."""

from __future__ import annotations

import numpy as np

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import OutputSpec

__all__ = [
    "CALIBRATION_SAMPLES",
    "balanced_epoch",
    "balanced_indices",
    "class_weights",
    "draw_balanced",
]

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
    return train.take(balanced_indices(train, output, spec, seed=seed, count=count))


def balanced_indices(
    train: Samples, output: str, spec: OutputSpec, *, seed: int, count: int
) -> Array:
    """Return the indices of the samples that ``draw_balanced`` takes, int64."""
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
    return order[:count]


def class_weights(classes: Array) -> Floats:
    """Return the weight of each class in the loss, float32 [largest class + 1].

    Samples / (classes that occur * samples of the class): each class weighs the same, and the mean
    over the samples is 1, so that the learning rate keeps its meaning. 0 for a class without any.

    Args:
        classes: Class index of each training sample, int [N].
    """
    counts = np.bincount(classes)
    weights = len(classes) / ((counts > 0).sum() * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 0.0).astype(np.float32)


def balanced_epoch(classes: Array, rng: np.random.Generator) -> Array:
    """Return an epoch in which each class comes as often, in every batch, int64 [N].

    Rounds of one sample per class, the classes in random order within the round. Samples of a
    rare class come several times, once each before any comes again; of a frequent one, others in
    each epoch.

    Args:
        classes: Class index of each training sample, int [N].
        rng: Draws order and samples.
    """
    count, kinds = len(classes), np.unique(classes)
    rounds = -(-count // len(kinds))
    drawn = np.empty((rounds, len(kinds)), np.int64)
    for column, kind in enumerate(kinds):
        members = np.flatnonzero(classes == kind)
        passes = -(-rounds // len(members))
        drawn[:, column] = np.concatenate([rng.permutation(members) for _ in range(passes)])[
            :rounds
        ]
    return rng.permuted(drawn, axis=1).reshape(-1)[:count]
