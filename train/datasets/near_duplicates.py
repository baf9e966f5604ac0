"""Near-duplicates: samples of validation and test that hardly differ from one that is trained on.

Frames of one video, crops of one photograph, a text with two words changed: the hash of the content
differs, so the split keeps them apart, and the model is judged by what it knows. What is found is
told and changes nothing: ``group`` is the cure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.preprocessing import tokenize
from edgeward.runtime.specs import InputSpec
from edgeward.train.datasets.dataset import Dataset

__all__ = ["difference_hash", "find_near_duplicates", "near_images", "near_texts", "shingles"]

# Of more samples a draw is looked at: some seconds on two cores, of images as of texts.
MOST_TRAINING = 10_000
MOST_JUDGING = 2_000
_JUDGING = ("validation", "test")
# Fewer may be chance: two photographs of a white wall.
_LEAST_SHARE = 0.01
# Digits and clothes, centred and cut out, are alike by nature: of those below 0.2 % pass.
_SIDE = 24
_CORRELATION = 0.99
# Of the 64 of a difference hash. Both have to say so: the hash sees edges, the correlation what
# is large.
_MOST_BITS = 6
# A smaller step of brightness, as a part of the image's range, is noise.
_STEP = 0.03
# An image of one color is like any other.
_FLAT = 2.0
_WORDS = 5
_JACCARD = 0.5
# Words of a text, and texts that hold a shingle, that are looked at.
_LONGEST = 200
_COMMON = 200
_SHOWN = 3
_CHUNK = 256


def find_near_duplicates(dataset: Dataset, inputs: Mapping[str, InputSpec]) -> list[str]:
    """Return a note where at least 1 % of a split's samples are nearly among the training ones.

    At most 10,000 training samples and 2,000 of the other split are compared, drawn at random.

    Args:
        dataset: Already checked.
        inputs: Input name -> spec; images and texts are looked at.
    """
    notes = []
    for name, spec in inputs.items():
        if spec.kind not in ("image", "text"):
            continue
        train, mine = _draw(dataset.train.inputs[name], MOST_TRAINING)
        drawn = {s: _draw(dataset.splits[s].inputs[name], MOST_JUDGING) for s in _JUDGING}
        search = near_images if spec.kind == "image" else near_texts
        found = search(train, *(column for column, _ in drawn.values()))
        for (split, (column, theirs)), pairs in zip(drawn.items(), found, strict=True):
            if len(pairs) < max(1, _LEAST_SHARE * len(column)):
                continue
            shown = ", ".join(f"{theirs[i]} and {mine[j]}" for i, j in pairs[:_SHOWN])
            notes.append(
                f"Near-duplicates: {len(pairs):,} of {len(column):,} {split} samples hardly "
                f"differ from one that is trained on ({split} and training sample {shown}). If "
                "they are of one person, recording or scene, the metric flatters: split by group, "
                "--set group=... where the recipe has it."
            )
    return notes


def _draw(column: Column, most: int) -> tuple[Column, Array]:
    """Return at most so many samples, by a fixed draw, and their indices, ascending."""
    if len(column) <= most:
        return column, np.arange(len(column))
    chosen = np.sort(np.random.default_rng(0).permutation(len(column))[:most])
    if isinstance(column, np.ndarray):
        return column[chosen], chosen
    return [column[int(i)] for i in chosen], chosen


def near_images(train: Column, *judging: Column) -> list[list[tuple[int, int]]]:
    """Return for each judging column pairs of indices (there, training) of images hardly differing.

    Near is a difference hash of which at most 6 of 64 bits differ, and 24 x 24 thumbnails that
    correlate by 0.99 or more. Of several near ones the most alike is given.

    Args:
        train: [N, H, W, C] of any number dtype.
        judging: Columns [M, H, W, C].
    """
    ours, known = _thumbnails(np.asarray(train)), difference_hash(np.asarray(train))
    result = []
    for column in judging:
        theirs, asked = _thumbnails(np.asarray(column)), difference_hash(np.asarray(column))
        pairs = []
        for first in range(0, len(theirs), _CHUNK):
            rows = slice(first, first + _CHUNK)
            alike = theirs[rows] @ ours.T
            both = np.abs(asked[rows]) @ np.abs(known).T
            alike[(both - asked[rows] @ known.T) / 2 > _MOST_BITS] = -1.0
            best = alike.argmax(axis=1)
            for i in np.flatnonzero(alike[np.arange(len(best)), best] >= _CORRELATION):
                pairs.append((first + int(i), int(best[i])))
        result.append(pairs)
    return result


def difference_hash(images: Array) -> Array:
    """Return the difference hash (dHash, Krawetz 2013) of images, float32 [N, 64] of -1, 0 and 1.

    Each tells whether the next of 9 columns is brighter, in 8 rows of a gray thumbnail. Unlike
    there, 0 says that there is no difference but noise: a black background would give bits by
    chance.

    Args:
        images: [N, H, W, C].
    """
    small = _resized(images, 8, 9)
    steps = np.diff(small, axis=2).reshape(len(images), 64)
    least = _STEP * (small.max(axis=(1, 2)) - small.min(axis=(1, 2)))[:, None]
    return np.asarray(np.where(np.abs(steps) > least, np.sign(steps), 0.0).astype(np.float32))


def _thumbnails(images: Array) -> Array:
    """Return thumbnails of mean 0 and length 1, float32 [N, 576]; 0 for one of a single color."""
    small = _resized(images, _SIDE, _SIDE).reshape(len(images), -1)
    small = small - small.mean(axis=1, keepdims=True)
    deviation = small.std(axis=1, keepdims=True)
    scale = 1.0 if images.dtype.kind in "iu" else max(float(np.abs(small).max()), 1e-9) / 255
    small[deviation[:, 0] < _FLAT * scale] = 0.0
    norm = np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-9)
    return np.asarray((small / norm).astype(np.float32))


def _resized(images: Array, height: int, width: int) -> Array:
    """Return gray thumbnails by the mean over areas, float32 [N, height, width]."""
    rows = _areas(images.shape[1], height)
    columns = _areas(images.shape[2], width)
    parts = []
    for first in range(0, len(images), _CHUNK):
        gray = images[first : first + _CHUNK].astype(np.float32).mean(axis=3)
        parts.append(rows @ gray @ columns.T)
    return np.concatenate(parts)


def _areas(size: int, wanted: int) -> Array:
    """Return the matrix of the mean over areas, float32 [wanted, size]: pixels count in part."""
    edges = np.linspace(0, size, wanted + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.arange(size)[None, :]
    part = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    return np.asarray((part / part.sum(axis=1, keepdims=True)).astype(np.float32))


def near_texts(train: Column, *judging: Column) -> list[list[tuple[int, int]]]:
    """Return for each judging column pairs of indices (there, training) of texts hardly differing.

    Near is a Jaccard index of 0.5 or more of their word 5-grams. Texts below 5 words are left out,
    of longer ones the first 200 words count, and a 5-gram leads to the first 200 texts that hold
    it.

    Args:
        train: N UTF-8 texts.
        judging: Columns of M UTF-8 texts.
    """
    ours = [shingles(text) for text in train]
    homes: dict[int, list[int]] = defaultdict(list)
    for index, grams in enumerate(ours):
        for gram in grams:
            if len(homes[gram]) < _COMMON:
                homes[gram].append(index)

    def nearest(text: bytes) -> int | None:
        grams = shingles(text)
        shared = Counter(home for gram in grams for home in homes.get(gram, ()))
        for home, _ in shared.most_common(_SHOWN):
            common = len(grams & ours[home])
            if common >= _JACCARD * (len(grams) + len(ours[home]) - common):
                return home
        return None

    return [
        [(i, home) for i, text in enumerate(column) if (home := nearest(text)) is not None]
        for column in judging
    ]


def shingles(text: bytes) -> set[int]:
    """Return hashes of the word 5-grams of a text, within this process."""
    words = tokenize(text)[:_LONGEST]
    return {hash(tuple(words[i : i + _WORDS])) for i in range(len(words) - _WORDS + 1)}
