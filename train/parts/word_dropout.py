"""Augmentation of texts: words that the model has to do without."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["WordDropout"]


class WordDropout(keras.layers.Layer):  # type: ignore[misc]
    """Replaces words by the unknown word at random (Iyyer et al. 2015).

    A net of a million weights learns some thousand sentences by heart within two epochs; one
    that never sees the same sentence twice cannot. It also teaches what the unknown word means,
    which the training split, whose words made the vocabulary, rarely shows.

    Args:
        rate: Share of the words, 0 <= rate < 1.
        unknown: Id of the unknown word; id 0, the padding, is never replaced.
    """

    def __init__(self, rate: float, unknown: int) -> None:
        super().__init__()
        self._rate = rate
        self._unknown = unknown
        self._seeds = keras.random.SeedGenerator()

    def call(self, ids: Any, training: bool = False) -> Any:
        """Return int32 ids [N, length], with words replaced when training."""
        if not training:
            return ids
        drawn = keras.random.uniform(keras.ops.shape(ids), seed=self._seeds)
        replaced = keras.ops.logical_and(drawn < self._rate, keras.ops.not_equal(ids, 0))
        return keras.ops.where(replaced, keras.ops.cast(self._unknown, ids.dtype), ids)
