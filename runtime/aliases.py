"""Old import names: ``train``, ``convert`` and ``runtime`` are ``edgeward.train`` and so on.

The folders of the repository have those names, and so had the packages once. A name imported the
old way is the very module of the new one, never a second copy: two copies would have two classes of
each name, and ``isinstance`` would fail between them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

__all__ = ["install"]

_OWNER = "edgeward"


class _Alias(Loader):
    """Gives the module that is there already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the spec of the alias into it.
        module.__spec__ = self._spec

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002
        """Return the code of the module: ``python -m train.cli`` runs it."""
        loader: Any = None if self._spec is None else self._spec.loader
        return None if loader is None or self._spec is None else loader.get_code(self._spec.name)


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        parent, _, name = fullname.rpartition(".")
        # ``python -m train`` wants a __main__ of its own.
        if name == "__main__" or not f"{parent}.".startswith(f"{self.package}."):
            return None
        real = f"{_OWNER}.{fullname}"
        if importlib.util.find_spec(real) is None:
            return None
        module = importlib.import_module(real)
        return ModuleSpec(fullname, _Alias(module), is_package=hasattr(module, "__path__"))


def install(package: str) -> None:
    """Make ``package`` and all of its modules other names for ``edgeward.package``.

    Called by a package that finds itself imported by the name of its folder.

    Args:
        package: ``train``, ``convert`` or ``runtime``.
    """
    sys.modules[package] = importlib.import_module(f"{_OWNER}.{package}")
    if not any(isinstance(one, _Finder) and one.package == package for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder(package))
