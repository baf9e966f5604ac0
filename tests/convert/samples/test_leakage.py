"""Test samples that calibration or validation have seen do not judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeward.convert.repair.holdout import hold_out
from edgeward.convert.samples.calibration import choose_calibration
from edgeward.convert.samples.leakage import find_leakage, without_leaked
from edgeward.convert.samples.suspicion import suspicions
from edgeward.convert.source.digests import sample_digests
from edgeward.convert.source.open import open_source
from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples, load_samples, save_samples


@pytest.fixture(scope="module")
def source(run: Path) -> Source:
    return open_source(run)


def with_test_in_calibration(source: Source, indices: Array) -> Source:
    """The same with these test samples among the calibration samples, by their bytes."""
    test = source.test.take(indices)
    both = {
        name: np.concatenate([np.asarray(column), np.asarray(test.inputs[name])])
        for name, column in source.calibration.inputs.items()
    }
    return replace(source, calibration=Samples(both))


def test_splits_of_a_recipe_do_not_leak(source: Source) -> None:
    assert find_leakage(source).notes == ()
    values = {"digit": np.zeros((len(source.test), 10), np.float32)}
    same, kept, notes = without_leaked(source, values)
    assert (same, notes) == (source, [])
    assert kept["digit"] is values["digit"]


def test_few_leaked_samples_are_named_and_left_out(source: Source) -> None:
    leaking = with_test_in_calibration(source, np.array([7, 3, 1200]))
    choose_calibration(leaking)
    (said,) = suspicions(leaking, choose_calibration(source), [])
    assert f"3 of {len(source.test):,} test samples among the calibration samples" in said
    assert "test samples 3, 7, 1200" in said
    numbers = np.arange(len(source.test), dtype=np.float32)[:, None]
    clean, values, notes = without_leaked(leaking, {"digit": numbers})
    assert notes == [said]
    assert len(clean.test) == len(source.test) - 3
    assert not {3, 7, 1200} & set(values["digit"][:, 0].astype(int))
    kept = values["digit"][:, 0].astype(int)
    assert (clean.test.targets["digit"] == source.test.targets["digit"][kept]).all()
    # Once they are out, there is nothing more to tell.
    assert find_leakage(clean).notes == ()


def test_many_leaked_samples_are_an_error(source: Source) -> None:
    with pytest.raises(InvalidDataError, match="found among the calibration") as caught:
        choose_calibration(with_test_in_calibration(source, np.arange(200)))
    assert caught.value.exit_code == 5
    for words in ("200 of 1,500", "test samples 0, 1, 2, 3, 4, ...", "split the data"):
        assert words in str(caught.value)


def test_samples_of_the_validation_split_leak_too(source: Source, tmp_path: Path) -> None:
    validation = source.validation()
    assert validation is not None
    file = tmp_path / "validation.npz"
    save_samples(file, source.test.take([5, 6]))
    leakage = find_leakage(replace(source, validation_file=file))
    assert leakage.indices == (5, 6)
    assert "validation.npz" in leakage.notes[0]
    save_samples(file, source.test)
    with pytest.raises(InvalidDataError, match="among the validation samples"):
        find_leakage(replace(source, validation_file=file))


def with_validation(source: Source, file: Path, *parts: Samples) -> Source:
    """The same with these samples to choose a repair by."""
    images = np.concatenate([np.asarray(part.inputs["image"]) for part in parts])
    digits = np.concatenate([part.targets["digit"] for part in parts])
    save_samples(file, Samples({"image": images}, {"digit": digits}))
    return replace(source, validation_file=file)


def test_calibration_samples_do_not_choose_a_repair(source: Source, tmp_path: Path) -> None:
    validation = source.validation()
    assert validation is not None
    file = tmp_path / "v.npz"
    few = with_validation(source, file, source.calibration.take([4, 9]), validation)
    leakage = find_leakage(few)
    assert (leakage.indices, leakage.choosing) == ((), (0, 1))
    (said,) = leakage.notes
    total = len(validation) + 2
    assert f"2 of {total:,} validation samples among the calibration samples" in said
    assert "validation samples 0, 1; they are left out of what a repair is chosen by" in said
    values = {"digit": np.zeros((len(source.test), 10), np.float32)}
    # What judges is as it was, and the note comes along.
    assert without_leaked(few, values) == (few, values, [said])
    held = hold_out(few, values, tmp_path)
    assert held is not None
    assert sample_digests(held.chooser.test) == sample_digests(validation)
    assert sample_digests(load_samples(held.chooser.test_file)) == sample_digests(validation)
    # The twin: the split itself is taken as it is.
    assert find_leakage(source).choosing == ()


def test_validation_samples_that_calibrate_are_an_error(source: Source, tmp_path: Path) -> None:
    same = with_validation(source, tmp_path / "v.npz", source.calibration)
    with pytest.raises(InvalidDataError, match="Validation samples are found among the calib"):
        find_leakage(same)
    # Where it has no targets it chooses nothing. A copy, because a source reads its file once.
    save_samples(tmp_path / "v.npz", Samples(source.calibration.inputs))
    assert find_leakage(replace(same)).notes == ()


def test_one_changed_value_is_another_sample(source: Source) -> None:
    images = np.array(source.test.inputs["image"])
    images[:, 0, 0, 0] ^= 1
    assert not find_leakage(replace(source, calibration=Samples({"image": images}))).notes


def texts(*words: bytes) -> Samples:
    return Samples({"a": [*words], "b": [word[::-1] for word in words]}, {})


def two_inputs(source: Source, calibration: Samples, test: Samples) -> Source:
    judged = Samples(test.inputs, {"digit": np.zeros(len(test), np.int64)})
    return replace(source, calibration=calibration, test=judged, validation_file=None)


def many(make: Callable[[int], bytes], count: int = 100) -> tuple[bytes, ...]:
    return tuple(make(i) for i in range(count))


def test_all_inputs_together_make_a_sample(source: Source) -> None:
    test = texts(*many(lambda i: b"test %d" % i))
    other = Samples({"a": [b"test 1"], "b": [b"other"]})
    assert not find_leakage(two_inputs(source, other, test)).notes
    assert find_leakage(two_inputs(source, texts(b"test 1"), test)).indices == (1,)
    # Cut elsewhere, the bytes in a row are the same.
    cut = Samples({"a": [b"test 1" + b"1"], "b": [b" tset"]})
    assert not find_leakage(two_inputs(source, cut, test)).notes


def test_inputs_of_few_values_repeat_by_nature(source: Source) -> None:
    few = texts(*many(lambda i: b"row %d" % (i % 8)))
    leakage = find_leakage(two_inputs(source, few, few))
    assert leakage.indices == ()
    assert "repeat each other as often" in leakage.notes[0]
    assert len(without_leaked(two_inputs(source, few, few), {})[0].test) == 100


def test_without_targets_nothing_is_judged_and_nothing_leaks(source: Source) -> None:
    bare = replace(source, test=Samples(source.calibration.inputs))
    assert not find_leakage(bare).notes


def ids(count: int, seed: int, values: int = 8) -> Array:
    return np.random.default_rng(seed).integers(0, values, (count, 3)).astype(np.int32)


def test_ids_that_repeat_by_nature_are_no_leak(source: Source) -> None:
    # 512 combinations: a small test split repeats itself rarely, and is found in a large one.
    test, many_ids = Samples({"ids": ids(40, 1)}), ids(2000, 2)
    leakage = find_leakage(two_inputs(source, Samples({"ids": many_ids}), test))
    assert leakage.indices == ()
    assert "ids, categories" in leakage.notes[0]
    assert len(leakage.notes) == 1
    # The twin: ids of which each is another one do not meet by chance.
    rare = ids(2000, 2, values=10_000)
    copied = Samples({"ids": rare[:40]})
    with pytest.raises(InvalidDataError, match="split by distinct input"):
        find_leakage(two_inputs(source, Samples({"ids": rare}), copied))


def test_ids_that_repeat_by_nature_may_choose_a_repair(source: Source, tmp_path: Path) -> None:
    # The test split itself meets neither.
    test, file = Samples({"ids": ids(40, 1) + 100}), tmp_path / "v.npz"

    def chosen_by(validation: Array, calibration: Array) -> Source:
        targets = {"digit": np.zeros(len(validation), np.int64)}
        save_samples(file, Samples({"ids": validation}, targets))
        bare = two_inputs(source, Samples({"ids": calibration}), test)
        spec = source.inputs["image"]
        return replace(bare, validation_file=file, inputs={"ids": spec})

    leakage = find_leakage(chosen_by(ids(40, 3), ids(2000, 2)))
    assert (leakage.indices, leakage.choosing) == ((), ())
    assert "validation samples among" in leakage.notes[0]
    assert "ids, categories" in leakage.notes[0]
    # The twin: ids of which each is another one.
    rare = ids(2000, 2, values=10_000)
    with pytest.raises(InvalidDataError, match=r"(?s)^Validation samples .*distinct input"):
        find_leakage(chosen_by(rare[:40], rare))


def test_images_that_repeat_in_the_calibration_are_a_leak_all_the_same(source: Source) -> None:
    twice = source.test.take(np.arange(200).repeat(2))
    with pytest.raises(InvalidDataError) as caught:
        find_leakage(replace(source, calibration=Samples(twice.inputs)))
    assert "ids" not in str(caught.value)
