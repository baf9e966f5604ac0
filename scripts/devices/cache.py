"""What was built once and is used again: folders that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeward.runtime.locks import locked
from edgeward.train.datasets.cache import cache_folder

__all__ = ["built", "devices_folder"]


def devices_folder() -> Path:
    """Return the folder that holds everything built here, beside the cached data sets."""
    folder = cache_folder("devices")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def built(name: str, recipe: Any, build: Callable[[Path], None]) -> Path:
    """Return the folder ``name`` made by ``build``, which runs only where it is not there yet.

    Args:
        name: What it is.
        recipe: What it is made of, as JSON; another recipe is another folder.
        build: Fills an empty folder and checks that the result works. The folder gets its name
            only afterwards, so that nobody meets half of it.
    """
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    folder = devices_folder() / f"{name}-{key}"
    with locked(devices_folder() / f".{name}.lock"):
        if not folder.exists():
            partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=devices_folder()))
            try:
                build(partial)
                partial.chmod(0o755)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder
