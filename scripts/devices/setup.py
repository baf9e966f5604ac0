"""Set up every emulated device, once, and fail where that cannot be done.

python -m scripts.devices.setup
"""

from __future__ import annotations

import sys

from edgeward.runtime.console import guarded, say
from scripts.devices.roots import ROOTS, ready


def main() -> int:
    """Set them up and return the exit code."""
    for name in ROOTS:
        say(f"emulated {name}: {ready(name)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("devices", main))
