"""The old name of ``edgeward.runtime``, for ``python -m runtime`` and imports written for it."""

from edgeward.runtime.aliases import install

install("runtime")
