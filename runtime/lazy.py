"""Names of a package that are imported when they are first asked for (PEP 562).

``--help`` must answer at once, and a device must not pay for what it does not use.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: Its name.
        homes: Name that it offers -> the module that defines it.

    >>> find = lazy_names("edgeward.runtime", {"Bundle": "edgeward.runtime.bundle"})
    >>> find("Bundle").__name__
    'Bundle'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
