"""Real bundles on emulated devices. Set-up downloads packages once; then it is in the cache."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import REPOSITORY

from edgeward.runtime.bundle import Bundle
from edgeward.runtime.samples import load_samples, save_samples

# ``scripts`` is no package that is installed; ``python -m pytest`` finds it, ``pytest`` does not.
sys.path.insert(0, str(REPOSITORY))
from scripts.devices.subject import Subject

COUNT = 100


def _subject(run: Path, bundle: Path, folder: Path) -> Subject:
    opened = Bundle.open(bundle)
    test = load_samples(run / "test.npz")
    test = test.named(list(opened.manifest.inputs), list(opened.manifest.outputs))
    some = test.take(range(COUNT))
    save_samples(folder / "samples.npz", some)
    return Subject(opened, some, folder / "samples.npz", folder)


@pytest.fixture(scope="session")
def subjects(
    run: Path,
    bundle: Path,
    texts: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Subject]:
    """Both bundles with 100 real samples each, by name."""
    return {
        "mnist_cnn": _subject(run, bundle, tmp_path_factory.mktemp("digits")),
        "text_lstm": _subject(*texts, tmp_path_factory.mktemp("texts")),
    }
