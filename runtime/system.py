"""Which systems train and convert run on; the runtime itself runs on all of them."""

from __future__ import annotations

import os
import sys

from edgeward.runtime.errors import UsageError

__all__ = ["require_posix"]


def require_posix(program: str) -> None:
    """Check that this is Linux or macOS: child processes get a pipe, and files get locks.

    Args:
        program: ``train`` or ``convert``.

    Raises:
        UsageError: It is another system.
    """
    if os.name != "posix":
        raise UsageError(
            f"{program} needs Linux or macOS.",
            received=sys.platform,
            expected="a system with POSIX processes and file locks",
            fix="run it in a container or in WSL; the bundle then runs here: python -m runtime",
        )
