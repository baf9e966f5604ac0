"""What the training loop eats: samples shuffled, augmented while raw, then preprocessed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.runtime.specs import InputSpec
from edgeward.train.datasets.balanced import balanced_epoch

__all__ = ["TrainingFeed", "shift_images"]


class TrainingFeed:
    """Epochs of one training split.

    The shift acts on the raw samples of the training split, before preprocessing and outside the
    model: it can get neither into an exported graph nor into validation. Order and shifts depend
    on seed and epoch alone, so that every worker, and a resumed training, draws the same ones.

    Args:
        spec: How a raw sample becomes a tensor.
        inputs: Raw samples, [N, ...] or N texts; [N, H, W, C] if ``shift`` is not 0.
        targets: Targets, [N, ...].
        shift: Largest shift of an image in pixels, in each direction; 0 switches it off.
        seed: Fixes order and shifts.
        vocabularies: Content of the vocabulary files that ``lookup`` steps name.
        classes: Class index of each sample, int [N]: each class comes as often as the others.
            None takes each sample once per epoch.
    """

    def __init__(
        self,
        spec: InputSpec,
        inputs: Column,
        targets: Array,
        *,
        shift: int,
        seed: int,
        vocabularies: Mapping[str, bytes] | None = None,
        classes: Array | None = None,
    ) -> None:
        self.size = len(inputs)
        self._spec = spec
        self._inputs = inputs
        self._targets = targets
        self._shift = shift
        self._seed = seed
        self._classes = classes
        self._vocabularies = vocabularies
        # Once, where nothing changes the raw samples between epochs: tokenising texts and resizing
        # photographs takes longer than training on them.
        self._tensors = None if shift else self._preprocess(inputs)

    def epoch(self, number: int) -> tuple[Array, Array]:
        """Return inputs (float32 or int32) and targets of epoch ``number`` (from 0), shuffled."""
        rng = np.random.default_rng([self._seed, number])
        if self._classes is None:
            order = rng.permutation(self.size)
        else:
            order = balanced_epoch(self._classes, rng)
        targets = self._targets[order]
        if self._tensors is not None:
            return self._tensors[order], targets
        shifted = shift_images(np.asarray(self._inputs)[order], self._shift, rng)
        return self._preprocess(shifted), targets

    def _preprocess(self, raw: Column) -> Array:
        return preprocess_batch(self._spec, raw, self._vocabularies)


def shift_images(images: Array, limit: int, rng: np.random.Generator) -> Array:
    """Shift each image by up to ``limit`` pixels in both directions, filling up with 0.

    Args:
        images: [N, H, W, C], any dtype.
        limit: Largest shift in pixels, >= 1.
        rng: Draws one of the (2 * limit + 1)^2 shifts for each image.

    Returns:
        New images of the same shape and dtype.
    """
    count, height, width = images.shape[:3]
    padded = np.pad(images, ((0, 0), (limit, limit), (limit, limit), (0, 0)))
    shifted = np.empty_like(images)
    # In numpy, because Keras' RandomTranslation takes 3 times as long for 54,000 digits (nearest),
    # or 6 times (bilinear), and blurs them.
    side = 2 * limit + 1
    drawn = rng.integers(0, side * side, count)
    # One pass per shift instead of one per image: 0.1 s for 54,000 digits instead of 0.5 s.
    for which in range(side * side):
        top, left = divmod(which, side)
        rows = drawn == which
        shifted[rows] = padded[rows, top : top + height, left : left + width]
    return shifted
