"""The app's logic, compiled once."""

from __future__ import annotations

import pytest
from java_cases import Java, compile_logic, need_java


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> Java:
    """The logic compiled for the JVM; skipped where there is no Java."""
    need_java()
    return compile_logic(tmp_path_factory.mktemp("java"))
