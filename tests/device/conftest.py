"""Real bundles on emulated devices. Set-up downloads packages once; then it is in the cache."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import REPOSITORY, python

from runtime.bundle import Bundle
from runtime.files import render_sums, sha256_file
from runtime.samples import Samples, load_samples, save_samples

# ``scripts`` is no package that is installed; ``python -m pytest`` finds it, ``pytest`` does not.
sys.path.insert(0, str(REPOSITORY))
from scripts.devices.proof import Subject

COUNT = 100


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of text_lstm on the real reviews, made small, and its bundle."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = base / "shared-texts"
    with (base / "texts.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not folder.exists():
            partial = base / "partial-texts"
            partial.mkdir()
            small = ("length=40", "units=32", "embedding=32")
            options = [word for setting in small for word in ("--set", setting)]
            for arguments in (
                ("train", "text_lstm", "--epochs", "3", "--learning-rate", "0.004", *options),
                ("convert", "--int8", "--max-drop", "0.1"),
            ):
                done = python("-m", *arguments, cwd=partial)
                assert done.returncode == 0, done.stderr
            partial.rename(folder)
    return folder / "runs" / "text_lstm" / "001", folder / "bundles" / "text_lstm"


def _subject(run: Path, bundle: Path, folder: Path) -> Subject:
    opened = Bundle.open(bundle)
    test = load_samples(run / "test.npz")
    test = test.named(list(opened.manifest.inputs), list(opened.manifest.outputs))
    some = test.take(range(COUNT))
    save_samples(folder / "labelled.npz", some)
    save_samples(folder / "samples.npz", Samples(some.inputs))
    return Subject(opened, Samples(some.inputs), folder / "samples.npz", folder)


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


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the real bundle that a test may change."""
    folder = tmp_path / bundle.name
    shutil.copytree(bundle, folder)
    return folder


@pytest.fixture(scope="session")
def edit() -> Callable[[Path, str, Callable[[Any], None]], None]:
    """Change a JSON file of a bundle and seal it again, as someone who tampers would."""

    def apply(folder: Path, name: str, change: Callable[[Any], None]) -> None:
        tree = json.loads((folder / name).read_bytes())
        change(tree)
        text = json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
        files = [path for path in folder.iterdir() if path.name != "SHA256SUMS"]
        sums = render_sums({path.name: sha256_file(path) for path in files})
        (folder / "SHA256SUMS").write_bytes(sums)

    return apply
