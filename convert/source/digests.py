"""What makes two raw samples the same: the bytes of all their inputs together."""

from __future__ import annotations

import hashlib

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.samples import Samples

__all__ = ["sample_digests"]


def sample_digests(samples: Samples) -> list[bytes]:
    """Return a hash of each sample: of the raw bytes of all its inputs, not of its targets."""
    return [
        hashlib.blake2b(b"".join(_bytes(column[i]) for column in samples.inputs.values())).digest()
        for i in range(len(samples))
    ]


def _bytes(value: Array | bytes) -> bytes:
    data = value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()
    # The length first: two texts are not the same as two others cut elsewhere.
    return len(data).to_bytes(8, "little") + data
