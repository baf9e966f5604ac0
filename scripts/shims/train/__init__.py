"""The old name of ``edgeward.train``, for ``python -m train`` and imports written for it."""

from edgeward.runtime.aliases import install

install("train")
