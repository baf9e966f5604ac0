"""Whole groups go into one split, and what is measured then holds for new ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.runtime.samples import Samples
from edgeward.train.datasets import image_folder, table, text_folder
from edgeward.train.datasets.dataset import Dataset, check_dataset
from edgeward.train.datasets.group_split import GroupSplit, split_groups
from edgeward.train.datasets.image_folder import ImageFolder
from edgeward.train.datasets.split import Shares
from edgeward.train.recipes.image_folder import RECIPE as IMAGES
from edgeward.train.recipes.image_folder import ImageFolderNet

SHARES = Shares(0.15, 0.25)
SPLITS = ("train", "validation", "test")


def split(groups: list[str], classes: list[int], keys: list[str] | None = None) -> GroupSplit:
    labels = [f"c{i}" for i in range(max(classes) + 1)]
    keys = [str(i) for i in range(len(groups))] if keys is None else keys
    return split_groups(groups, keys, classes, SHARES, labels, "data", lambda line: None)


def straddling(found: GroupSplit, names: list[str]) -> set[str]:
    """What is in more than one split."""
    sets = [{names[i] for i in found.places[one]} for one in SPLITS]
    return {name for name in set.union(*sets) if sum(name in each for each in sets) > 1}


def test_no_group_straddles_and_the_shares_of_classes_are_kept() -> None:
    rng = np.random.default_rng(0)
    groups = [f"p{i}" for i in rng.integers(0, 40, 2000)]
    classes = (rng.random(2000) < 0.2).astype(int).tolist()
    found = split(groups, classes)
    assert straddling(found, groups) == set()
    assert sorted(i for chosen in found.places.values() for i in chosen) == list(range(2000))
    for name, share in (("train", 0.6), ("validation", 0.15), ("test", 0.25)):
        for one in (0, 1):
            held = sum(classes[i] == one for i in found.places[name])
            assert held / classes.count(one) == pytest.approx(share, abs=0.04)
    # The order of the samples does not matter, and there is no chance in it.
    order = rng.permutation(2000)
    again = split([groups[i] for i in order], [classes[i] for i in order], [str(i) for i in order])
    assert sorted(order[again.places["test"]]) == found.places["test"]
    # The twin: a split at random has every group in each split.
    places = {name: list(range(i, 2000, 3)) for i, name in enumerate(SPLITS)}
    assert straddling(GroupSplit(places, ()), groups) == set(groups)


def test_groups_that_hold_the_same_sample_go_together() -> None:
    groups = [f"p{i // 4}" for i in range(80)]
    keys = [str(i) for i in range(80)]
    keys[4] = keys[0]  # of p0 and p1
    keys[9] = keys[5]  # of p1 and p2
    found = split(groups, [i % 2 for i in range(80)], keys)
    assert straddling(found, keys) == set()
    homes = [name for name in SPLITS if {0, 4, 8} & set(found.places[name])]
    assert len(homes) == 1
    assert "2 are one with others" in found.notes[0]


def test_a_class_that_lives_in_one_group_is_trained_on_and_told() -> None:
    groups = [f"p{i // 10}" for i in range(100)]
    classes = [2 if i < 5 else i % 2 for i in range(100)]
    found = split(groups, classes)
    assert set(range(5)) <= set(found.places["train"])
    (told,) = [note for note in found.notes if "'c2'" in note]
    assert "1 group (p0): no sample of it validates or tests" in told
    assert "3 groups or more" in told
    assert not [
        note for note in split(groups, [i % 2 for i in range(100)]).notes if "lives" in note
    ]


@pytest.mark.parametrize(
    ("groups", "classes", "said"),
    [
        (["a"] * 10 + ["b"] * 10, [0, 1] * 10, "2: "),
        (["a"] * 10 + ["b"] * 10 + ["c"] * 10, [0] * 10 + [1] * 10 + [2] * 10, "names the class"),
    ],
)
def test_groups_that_cannot_be_split_are_an_error_that_leads_on(
    groups: list[str], classes: list[int], said: str
) -> None:
    with pytest.raises(InvalidDataError) as caught:
        split(groups, classes)
    assert said in str(caught.value)


def write_images(folder: Path, *, deep: bool) -> None:
    """Two classes, six persons; the file's name or the folder tells who it is."""
    rng = np.random.default_rng(0)
    for label in ("no", "yes"):
        for person in range(6):
            home = folder / label / (f"p{person}" if deep else "")
            home.mkdir(parents=True, exist_ok=True)
            for i in range(4):
                pixels = rng.integers(0, 255, (12, 12), np.uint8)
                Image.fromarray(pixels).save(home / f"p{person}_{i}.png")


def load_images(folder: Path, group: str) -> ImageFolder:
    return image_folder.load(folder, 8, "auto", SHARES, lambda line: None, group)


@pytest.mark.parametrize(
    ("deep", "group"), [(True, "folder"), (False, "^(p[0-9]+)_"), (False, "p.")]
)
def test_images_are_grouped_by_folder_or_by_name(tmp_path: Path, deep: bool, group: str) -> None:
    write_images(tmp_path, deep=deep)
    found = load_images(tmp_path, group)
    fitted = IMAGES.specialise(found, ImageFolderNet(size=8))  # type: ignore[misc]
    check_dataset(found, fitted.inputs, fitted.outputs)
    sets = [set(found.groups[name].tolist()) for name in SPLITS]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 6
    assert [len(found.groups[name]) for name in SPLITS] == [
        len(samples) for samples in found.splits.values()
    ]
    # The twin: without groups persons are in several splits, and there are no ids.
    if not deep:
        assert load_images(tmp_path, "").groups == {}


def test_what_tells_no_group_is_an_error(tmp_path: Path) -> None:
    write_images(tmp_path / "flat", deep=False)
    with pytest.raises(InvalidDataError, match="in no group"):
        load_images(tmp_path / "flat", "folder")
    with pytest.raises(InvalidDataError, match="does not tell its group"):
        load_images(tmp_path / "flat", "^q")
    with pytest.raises(UsageError, match="no regular expression"):
        load_images(tmp_path / "flat", "(")
    with pytest.raises(UsageError, match="several brackets"):
        load_images(tmp_path / "flat", "(p)(.)")
    write_images(tmp_path / "deep", deep=True)
    with pytest.raises(InvalidDataError, match="--set group=folder"):
        load_images(tmp_path / "deep", "")


def test_rows_of_one_patient_are_in_one_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.4f},{i % 2},s{i % 12}" for i in range(240)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["a,y,patient", *rows]) + "\n")

    def load(group: str, ignore: str = "") -> table.Table:
        return table.load(path, "y", ignore, "auto", SHARES, lambda line: None, group)

    found = load("patient")
    assert found.columns == ("a",)
    sets = [set(found.groups[name].tolist()) for name in SPLITS]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 12
    by_value = {float(np.float32(row.split(",")[0])): row.split(",")[2] for row in rows}
    values = found.test.inputs["features"][:, 0]
    assert [by_value[float(v)] for v in values] == found.groups["test"].tolist()
    assert load("", "patient").groups == {}
    with pytest.raises(UsageError, match="no such column"):
        load("nobody")
    with pytest.raises(UsageError, match="cannot be the one of the groups"):
        load("y")


def test_texts_of_one_writer_are_in_one_split(tmp_path: Path) -> None:
    for label in ("bad", "good"):
        for writer in range(5):
            home = tmp_path / label / f"w{writer}"
            home.mkdir(parents=True)
            for i in range(3):
                (home / f"{i}.txt").write_text(f"{label} text {i} of writer {writer}")
    found = text_folder.load(tmp_path, 100, SHARES, lambda line: None, "folder")
    for name in SPLITS:
        texts = found.splits[name].inputs["text"]
        assert [f"w{text.split()[-1].decode()}" for text in texts] == found.groups[name].tolist()
    sets = [set(found.groups[name].tolist()) for name in SPLITS]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 5


def test_groups_of_a_recipe_of_ones_own_are_checked(digits: Dataset) -> None:
    from edgeward.train.recipes import load_recipe

    recipe = load_recipe("mnist_mlp")
    numbers = {name: np.arange(len(s)) % 7 for name, s in digits.splits.items()}
    apart = {name: ids + 7 * i for i, (name, ids) in enumerate(numbers.items())}
    check_dataset(replace(digits, groups=apart), recipe.inputs, recipe.outputs)
    with pytest.raises(InvalidDataError, match="group 0 in train and validation"):
        check_dataset(replace(digits, groups=numbers), recipe.inputs, recipe.outputs)
    short = {**apart, "test": apart["test"][1:]}
    with pytest.raises(InvalidDataError, match="do not fit the splits"):
        check_dataset(replace(digits, groups=short), recipe.inputs, recipe.outputs)
    with pytest.raises(InvalidDataError, match="do not fit the splits"):
        check_dataset(replace(digits, groups={"train": apart["train"]}), recipe.inputs, {})
    assert isinstance(digits.train, Samples)
