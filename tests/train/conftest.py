"""Real digits for the tests of training: the committed subset, which needs no network."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from edgeward.train.console import Console, open_console
from edgeward.train.datasets import mnist
from edgeward.train.datasets.dataset import Dataset


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The subset as the recipe sees it: 5,400 + 600 + 1,500 digits."""
    return mnist.load(mnist.SUBSET, lambda line: None)


@pytest.fixture
def console() -> Iterator[Console]:
    """A console that nobody reads."""
    with open_console(io.StringIO()) as opened:
        yield opened
