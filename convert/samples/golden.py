"""Which test samples become golden vectors (FORMAT.md, section 6)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.samples import Samples
from edgeward.runtime.tasks import decide

__all__ = ["choose_golden"]

COUNT = 20


def choose_golden(source: Source, float_values: Mapping[str, Floats]) -> Samples:
    """Choose golden inputs from the test split.

    Half are those on which the float model is least sure, where another kernel shows first; the
    rest are spread over the classes and over the split.

    Args:
        source: The data.
        float_values: Output name -> the float model's values on the test split.
    """
    name, spec = next(iter(source.outputs.items()))
    values = float_values[name].reshape(len(source.test), -1)
    half = min(COUNT // 2, len(values))
    if spec.task == "classification" and values.shape[1] > 1:
        ordered = np.sort(values, axis=1)
        margin = ordered[:, -1] - ordered[:, -2]
    elif spec.task == "binary":
        margin = np.abs(values[:, 0] - (spec.threshold or 0.0))
    else:
        margin = np.zeros(len(values))
    close = np.argsort(margin, kind="stable")[:half]
    rest = np.setdiff1d(np.arange(len(values)), close)
    groups = None
    if spec.task in ("classification", "binary"):
        # Without targets the float model's own answers are the classes to spread over.
        groups = source.test.targets.get(name, decide(spec, float_values[name]))
    return source.test.take(np.concatenate([close, _spread(rest, groups, half)]))


def _spread(indices: Array, groups: Array | None, count: int) -> Array:
    """Return ``count`` of the indices: the groups in turn, the first of each group first."""
    if groups is None:
        return indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(int)]
    flat = groups.reshape(len(groups), -1)[:, 0]
    rank = np.zeros(len(indices), np.int64)
    for group in np.unique(flat[indices]):
        mine = flat[indices] == group
        rank[mine] = np.arange(np.count_nonzero(mine))
    return indices[np.lexsort((flat[indices], rank))][:count]
