"""The old name of ``edgeward.convert``, for ``python -m convert`` and imports written for it."""

from edgeward.runtime.aliases import install

install("convert")
