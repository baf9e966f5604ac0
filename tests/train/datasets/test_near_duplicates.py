"""What hardly differs from a training sample is told; what merely looks alike is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import InputSpec
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.near_duplicates import (
    difference_hash,
    find_near_duplicates,
    near_images,
    near_texts,
)
from edgeward.train.recipes.text_lstm import text_input

IMAGE = {"image": InputSpec("image", "uint8", (None, None, None), ())}


def scenes(count: int, seed: int) -> Array:
    """Smooth color pictures, uint8 [N, 48, 64, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 6, 8, 3))
    return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)


def changed(images: Array) -> Array:
    """Another exposure and some noise, as the next frame of a video has."""
    noise = np.random.default_rng(1).normal(0, 4, images.shape)
    return np.clip(images * 0.85 + 12 + noise, 0, 255).astype(np.uint8)


def test_the_next_frame_is_found_and_another_scene_is_not() -> None:
    train = scenes(200, 0)
    assert near_images(train, changed(train[40:60])) == [[(i, 40 + i) for i in range(20)]]
    assert near_images(train, scenes(100, 7)) == [[]]
    flat = np.full((5, 48, 64, 3), 90, np.uint8)
    assert near_images(np.concatenate([train, flat]), flat) == [[]]


def test_the_hash_ignores_exposure_and_tells_scenes_apart() -> None:
    some = scenes(20, 0)
    hashes, again = difference_hash(some), difference_hash(changed(some))
    differ = (hashes[:, None] * again[None, :] < 0).sum(axis=2)
    assert differ.diagonal().max() <= 2
    assert (differ + 64 * np.eye(20)).min() > 6


def with_inputs(name: str, train: Column, other: Column) -> Dataset:
    samples = Samples({name: other})
    return Dataset(
        name="mine",
        source="here",
        sha256="0" * 64,
        train=Samples({name: train}),
        validation=samples,
        test=samples,
    )


def test_the_note_names_split_and_samples_and_its_absence_is_silence(digits: Dataset) -> None:
    train = scenes(300, 0)
    notes = find_near_duplicates(with_inputs("image", train, changed(train[7:60])), IMAGE)
    assert len(notes) == 2
    assert "53 of 53 test samples" in notes[1]
    assert "0 and 7, 1 and 8, 2 and 9" in notes[1]
    assert "--set group=" in notes[1]
    assert find_near_duplicates(with_inputs("image", train, scenes(60, 3)), IMAGE) == []
    # Digits of one shape are alike by nature, and no copies.
    assert find_near_duplicates(digits, IMAGE) == []
    twice = replace(digits, test=Samples({"image": changed(digits.train.inputs["image"][:500])}))
    (note,) = find_near_duplicates(twice, IMAGE)
    assert "of 500 test samples" in note


@pytest.mark.parametrize("other", ["one", "two words changed in the middle"])
def test_texts_that_share_most_of_their_words_in_a_row_are_found(other: str) -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(500)])
    texts = [" ".join(rng.choice(words, 60)) for _ in range(50)]
    mine = texts[9].split()
    mine[30:32] = other.split()
    train = [text.encode() for text in texts]
    assert near_texts(train, [" ".join(mine).encode(), b"too short"]) == [[(0, 9)]]
    # The twin: the same words in another order.
    assert near_texts(train, [" ".join(rng.permutation(mine)).encode()]) == [[]]
    spec = {"text": text_input(80)}
    found = find_near_duplicates(with_inputs("text", train, [" ".join(mine).encode()]), spec)
    assert len(found) == 2
