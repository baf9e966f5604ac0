"""The app's logic, compiled once."""

from __future__ import annotations

import sys

import pytest
from support import REPOSITORY

# ``scripts`` is no package that is installed; ``python -m pytest`` finds it, ``pytest`` does not.
sys.path.insert(0, str(REPOSITORY))
from java_cases import need_java

from scripts.android.jvm import Java, compile_logic


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> Java:
    """The logic compiled for the JVM; skipped where there is no Java."""
    need_java()
    return compile_logic(tmp_path_factory.mktemp("java"))
