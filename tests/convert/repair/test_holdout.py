"""The samples that choose between repairs, and those that judge, have none in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeward.convert.repair.holdout import Holdout, hold_out
from edgeward.convert.samples.check import open_unlabelled
from edgeward.convert.source.digests import sample_digests
from edgeward.convert.source.open import open_source
from edgeward.convert.source.source import Source
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples, load_samples, save_samples


@pytest.fixture(scope="module")
def source(run: Path) -> Source:
    return open_source(run)


@pytest.fixture
def alone(source: Source) -> Source:
    """The same without a validation split, a hundred of its test samples twice."""
    twice = np.r_[np.arange(len(source.test)), np.arange(100)]
    return replace(source, test=source.test.take(twice), validation_file=None)


def numbers(source: Source) -> dict[str, np.ndarray]:
    """Values that tell which sample they are of."""
    return {"digit": np.arange(len(source.test), dtype=np.float32)[:, None]}


def held(source: Source, folder: Path) -> Holdout:
    found = hold_out(source, numbers(source), folder)
    assert found is not None
    return found


def shared(chooser: Samples, judge: Samples) -> int:
    return len(set(sample_digests(chooser)) & set(sample_digests(judge)))


def test_validation_split_chooses_and_the_whole_test_split_judges(
    source: Source, tmp_path: Path
) -> None:
    found = held(source, tmp_path)
    assert found.judge is source
    assert found.chooser.test_file == source.validation_file
    assert shared(found.chooser.test, found.judge.test) == 0
    assert f"{len(found.chooser.test):,} validation samples" in found.note
    assert found.values["digit"].shape == (len(source.test), 1)


def test_third_of_the_test_split_chooses_and_the_rest_judges(alone: Source, tmp_path: Path) -> None:
    found = held(alone, tmp_path)
    total = len(alone.test)
    assert len(found.chooser.test) + len(found.judge.test) == total
    assert 0.28 * total < len(found.chooser.test) < 0.39 * total
    assert shared(found.chooser.test, found.judge.test) == 0
    assert f"{len(found.chooser.test):,} of the {total:,} test samples" in found.note
    # The float model's values are those of the samples that are left.
    rows = found.values["digit"][:, 0].astype(int)
    left = sample_digests(alone.test.take(rows))
    assert left == sample_digests(found.judge.test)
    np.testing.assert_array_equal(
        found.judge.test.targets["digit"], alone.test.targets["digit"][rows]
    )
    # What the worker reads is what chooses.
    saved = load_samples(found.chooser.test_file).named(list(alone.inputs), list(alone.outputs))
    assert sample_digests(saved) == sample_digests(found.chooser.test)
    # The twin: a third by position has samples on both sides, and the same check sees it.
    third = total // 3
    parts = alone.test.take(np.arange(third)), alone.test.take(np.arange(third, total))
    assert shared(*parts) == 100


def test_third_is_the_same_in_every_order(alone: Source, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    mixed = np.random.default_rng(0).permutation(len(alone.test))
    first = held(alone, tmp_path / "a")
    second = held(replace(alone, test=alone.test.take(mixed)), tmp_path / "b")
    assert sorted(sample_digests(first.chooser.test)) == sorted(sample_digests(second.chooser.test))


def test_validation_without_the_targets_or_without_its_file_does_not_choose(
    source: Source, tmp_path: Path
) -> None:
    file = tmp_path / "validation.npz"
    for _ in range(2):
        found = held(replace(source, validation_file=file), tmp_path)
        assert "chosen by their hash" in found.note
        save_samples(file, Samples(source.calibration.inputs))


def test_nothing_can_choose_without_targets_or_among_equal_samples(
    alone: Source, tmp_path: Path
) -> None:
    assert hold_out(replace(alone, test=Samples(alone.test.inputs)), {}, tmp_path) is None
    one = replace(alone, test=alone.test.take(np.zeros(50, int)))
    assert hold_out(one, numbers(one), tmp_path) is None


def saved(folder: Path, *parts: Samples, **arrays: np.ndarray) -> Path:
    file = folder / "distil.npz"
    if parts:
        arrays = {"x": np.concatenate([np.asarray(p.inputs["image"]) for p in parts])}
    np.savez(file, **arrays)
    return file


def test_samples_that_judge_are_not_fine_tuned_on(source: Source, tmp_path: Path) -> None:
    validation = source.validation()
    assert validation is not None
    train, test = source.calibration.take(np.arange(60)), source.test.take(np.arange(30))
    file = saved(tmp_path, train, test, validation.take(np.arange(10)))
    samples, notes = open_unlabelled(file, source)
    assert sample_digests(samples) == sample_digests(train)
    assert notes == [
        "40 of the 100 samples of distil.npz are test or validation samples too; the model is not "
        "fine-tuned on them"
    ]
    # The twin: where none of them judges, all are kept and nothing is told.
    assert open_unlabelled(saved(tmp_path, train), source)[1] == []
    with pytest.raises(InvalidDataError, match="too few samples to fine-tune on") as caught:
        open_unlabelled(saved(tmp_path, test, train.take(np.arange(5))), source)
    assert "5 beside 30 that judge" in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((30, 28, 28, 1), np.float32)}, "input 'image', cannot be used"),
        ({"x": np.full((30, 28, 28, 1), np.inf, np.float32)}, "30 of 30 samples hold a value"),
        ({"in/picture": np.zeros((30, 28, 28, 1), np.uint8)}, "cannot be fine-tuned on"),
        ({"y": np.zeros(30, np.int64)}, "distil.npz"),
    ],
)
def test_file_that_nobody_can_fine_tune_on_is_invalid_data(
    source: Source, tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    with pytest.raises(InvalidDataError, match=words) as caught:
        open_unlabelled(saved(tmp_path, **arrays), source)
    assert caught.value.exit_code == 5


def test_file_that_is_no_archive_is_invalid_data(source: Source, tmp_path: Path) -> None:
    for content in (None, b"", b"PK\x03\x04 nothing"):
        file = tmp_path / "x.npz"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InvalidDataError, match=r"x\.npz"):
            open_unlabelled(file, source)
