"""Sample files: keys, texts, and archives that are damaged, hostile or not archives at all."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeward.runtime import samples as runtime_samples
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples, load_samples, save_samples

IMAGES = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
LABELS = np.array([2, 0, 1])
TEXTS = [b"", "naïve été".encode(), b"plain"]


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_samples_survive_the_way_to_the_file_and_back(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    save_samples(path, Samples({"image": IMAGES, "review": TEXTS}, {"digit": LABELS}))
    read = load_samples(path)
    assert sorted(np.load(path).files) == [
        "in/image",
        "in/review",
        "in/review.offsets",
        "out/digit",
    ]
    assert np.array_equal(read.inputs["image"], IMAGES)
    assert read.inputs["image"].dtype == np.uint8
    assert read.inputs["review"] == TEXTS
    assert read.targets["digit"].tolist() == [2, 0, 1]
    assert len(read) == 3


def test_samples_that_are_all_empty_texts_survive(tmp_path: Path) -> None:
    save_samples(tmp_path / "s.npz", Samples({"review": [b"", b""]}))
    assert load_samples(tmp_path / "s.npz").inputs["review"] == [b"", b""]


def test_the_real_test_split_is_read(run: Path) -> None:
    samples = load_samples(run / "test.npz")
    assert samples.inputs["image"].shape[1:] == (28, 28, 1)
    assert set(samples.targets["digit"].tolist()) == set(range(10))


def test_x_and_y_stand_for_the_only_input_and_the_only_output(tmp_path: Path) -> None:
    read = load_samples(npz(tmp_path / "s.npz", x=IMAGES, y=LABELS)).named(["image"], ["digit"])
    assert list(read.inputs) == ["image"]
    assert read.targets["digit"].tolist() == [2, 0, 1]


def test_x_and_y_do_not_stand_for_one_of_several(tmp_path: Path) -> None:
    read = load_samples(npz(tmp_path / "s.npz", x=IMAGES, y=LABELS))
    with pytest.raises(InvalidDataError, match="in/left"):
        read.named(["left", "right"], ["digit"])
    with pytest.raises(InvalidDataError, match="out/age"):
        read.named(["image"], ["age", "name"])


def test_names_that_the_model_does_not_have_are_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "s.npz", **{"in/image": IMAGES, "out/digit": LABELS})
    assert len(load_samples(path).named(["image"], ["digit"])) == 3
    with pytest.raises(InvalidDataError, match="in/photo"):
        load_samples(path).named(["photo"], ["digit"])
    with pytest.raises(InvalidDataError, match="out/letter"):
        load_samples(path).named(["image"], ["letter"])


def test_targets_may_be_missing(tmp_path: Path) -> None:
    read = load_samples(npz(tmp_path / "s.npz", x=IMAGES)).named(["image"], ["digit"])
    assert read.targets == {}


def test_take_keeps_inputs_and_targets_together() -> None:
    taken = Samples({"image": IMAGES, "review": TEXTS}, {"digit": LABELS}).take([2, 0, 0])
    assert taken.targets["digit"].tolist() == [1, 2, 2]
    assert taken.inputs["review"] == [TEXTS[2], TEXTS[0], TEXTS[0]]
    assert np.array_equal(taken.inputs["image"], IMAGES[[2, 0, 0]])


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({}, "no input"),
        ({"y": LABELS}, "no input"),
        ({"x": IMAGES, "y": LABELS[:2]}, "differ in length"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "empty"),
        ({"x": IMAGES[:0]}, "empty"),
        ({"x": np.float32(3)}, "single value"),
        ({"x": IMAGES, "y": np.int64(3)}, "single value"),
        ({"x": IMAGES, "z": LABELS}, "unknown key"),
        ({"x": IMAGES, "image": IMAGES}, "unknown key"),
        ({"x": IMAGES, "in/x": IMAGES}, "twice"),
        ({"x": IMAGES, "y": LABELS, "out/y": LABELS}, "twice"),
        ({"x": IMAGES, "x.offsets": np.array([0, 1])}, "offsets"),
        ({"x.offsets": np.array([0, 1])}, "unknown key"),
        ({"x": np.array([{"a": 1}, None, 3], dtype=object)}, "pickle"),
        ({"x": IMAGES, "y": np.array(["a", 1, None], dtype=object)}, "pickle"),
    ],
)
def test_a_file_with_other_content_is_refused(
    tmp_path: Path, arrays: dict[str, Any], word: str
) -> None:
    path = npz(tmp_path / "s.npz", **arrays)
    with pytest.raises(InvalidDataError, match=word):
        load_samples(path)


@pytest.mark.parametrize(
    "offsets",
    [
        [0, 2, 9],
        [1, 2, 6],
        [0, 4, 2, 6],
        [0, -1, 6],
        [0, 2**63 - 1, -2, 6],
        [],
        [[0, 6]],
        [0.0, 6.0],
        np.array([0, 6], np.int32),
        np.array([0, 6], np.uint64),
    ],
    ids=str,
)
def test_offsets_that_do_not_divide_the_bytes_are_refused(tmp_path: Path, offsets: Any) -> None:
    data = np.frombuffer(b"abcdef", np.uint8)
    good = npz(tmp_path / "good.npz", **{"in/t": data, "in/t.offsets": np.array([0, 2, 2, 6])})
    assert load_samples(good).inputs["t"] == [b"ab", b"", b"cdef"]
    bad = npz(tmp_path / "bad.npz", **{"in/t": data, "in/t.offsets": np.asarray(offsets)})
    with pytest.raises(InvalidDataError, match="offsets"):
        load_samples(bad)


def test_text_bytes_of_another_dtype_are_refused(tmp_path: Path) -> None:
    arrays = {"in/t": np.zeros(6, np.int8), "in/t.offsets": np.array([0, 6])}
    with pytest.raises(InvalidDataError, match="offsets"):
        load_samples(npz(tmp_path / "s.npz", **arrays))


class Exploding:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch exploded",)


def test_a_pickle_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = npz(tmp_path / "s.npz", x=np.array([Exploding()] * 3, dtype=object))
    with pytest.raises(InvalidDataError):
        load_samples(path)
    assert not (tmp_path / "exploded").exists()
    np.load(path, allow_pickle=True)["x"]  # the twin: this file does explode
    assert (tmp_path / "exploded").exists()


def test_a_bare_pickle_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.npz").write_bytes(pickle.dumps(Exploding()))
    with pytest.raises(InvalidDataError):
        load_samples(tmp_path / "s.npz")
    assert not (tmp_path / "exploded").exists()


def test_an_archive_that_unfolds_to_too_much_is_refused_before_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.npz"
    np.savez_compressed(path, x=np.zeros((3, 1_000_000), np.uint8))
    assert path.stat().st_size < 10_000
    assert len(load_samples(path)) == 3
    monkeypatch.setattr(runtime_samples, "MAX_UNPACKED_BYTES", 1_000_000)
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("unpacked"))
    with pytest.raises(InvalidDataError, match="unfolds"):
        load_samples(path)


def test_a_header_that_promises_a_terabyte_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 3)}
    )
    path = tmp_path / "s.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", buffer.getvalue() + b"\0" * 100)
    with pytest.raises(InvalidDataError):
        load_samples(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"not an archive", b"\x93NUMPY\x01\x00", b"\0" * 99]
)
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(InvalidDataError):
        load_samples(tmp_path / "s.npz")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="No such file"):
        load_samples(tmp_path / "missing.npz")
    with pytest.raises(InvalidDataError):
        load_samples(tmp_path)


def test_an_array_without_an_archive_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", IMAGES)
    with pytest.raises(InvalidDataError):
        load_samples(tmp_path / "s.npy")


def test_no_damage_of_an_archive_raises_anything_but_our_error(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    save_samples(path, Samples({"image": IMAGES, "review": TEXTS}, {"digit": LABELS}))
    good = path.read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] ^= int(rng.integers(1, 256))
        if rng.random() < 0.2:
            del data[int(rng.integers(1, len(data))) :]
        path.write_bytes(data)
        try:
            load_samples(path)
        except InvalidDataError:
            refused += 1
    assert refused > 200
    path.write_bytes(good)
    assert len(load_samples(path)) == 3
