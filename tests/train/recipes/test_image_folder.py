"""A folder of images becomes a data set, a run and a bundle, or an error that names the file."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quiet import train_quietly

from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.runtime.image import read_image
from edgeward.runtime.preprocessing import preprocess
from edgeward.train.datasets import image_folder
from edgeward.train.datasets.dataset import Dataset, check_dataset
from edgeward.train.datasets.image_folder import ImageFolder
from edgeward.train.datasets.split import Shares, split_class
from edgeward.train.parts.common import image_input
from edgeward.train.recipes.image_folder import RECIPE, ImageFolderNet

Write = Callable[..., Path]
RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


def digits_of(digits: Dataset, which: int, count: int) -> list[np.ndarray]:
    chosen = np.flatnonzero(digits.train.targets["digit"] == which)[:count]
    return [digits.train.inputs["image"][i][..., 0] for i in chosen]


@pytest.fixture
def write(digits: Dataset, tmp_path: Path) -> Write:
    """Write real digits as image files, one sub-folder per class."""

    def make(classes: Mapping[str, int], count: int = 10, suffix: str = "png") -> Path:
        folder = tmp_path / "images"
        for label, digit in classes.items():
            (folder / label).mkdir(parents=True)
            for i, pixels in enumerate(digits_of(digits, digit, count)):
                Image.fromarray(pixels).save(folder / label / f"{i:03d}.{suffix}")
        return folder

    return make


def load(path: Path | None, said: list[str] | None = None, **chosen: object) -> ImageFolder:
    options = {"size": 28, "channels": "auto", "shares": Shares(), **chosen}
    lines = said if said is not None else []
    return image_folder.load(path, *options.values(), lines.append)  # type: ignore[arg-type]


ZERO_AND_ONE = {"zero": 0, "one": 1}


def keys(dataset: Dataset, split: str) -> set[bytes]:
    return {image.tobytes() for image in dataset.splits[split].inputs["image"]}


def test_each_class_is_split_by_its_shares_and_labelled_by_its_folder(write: Write) -> None:
    found = load(write(ZERO_AND_ONE, 20))
    assert found.labels == ("one", "zero")
    for split, count in {"train": 14, "validation": 2, "test": 4}.items():
        targets = found.splits[split].targets["label"]
        assert np.bincount(targets).tolist() == [count, count], split
    # A zero has a hole where a one has ink: labels that were swapped would show.
    images, labels = found.train.inputs["image"], found.train.targets["label"]
    middle = np.array([image[12:16, 12:16].mean() for image in images])
    assert middle[labels == 0].mean() > 2 * middle[labels == 1].mean()


@pytest.mark.parametrize("channels", ["gray", "rgb"])
@pytest.mark.parametrize("size", [28, 20])
def test_samples_are_what_the_device_computes_from_the_file(
    write: Write, size: int, channels: str
) -> None:
    folder = write(ZERO_AND_ONE, 10)
    # Three digits as red, green and blue: to resize and to make gray are not interchangeable.
    layers = [Image.open(file).copy() for file in sorted(folder.rglob("*.png"))]
    for i, file in enumerate(sorted(folder.rglob("*.png"))):
        Image.merge("RGB", [layers[i], layers[i - 1], layers[i - 2]]).save(file)
    found = load(folder, size=size, channels=channels)
    spec = image_input(size, found.channels)
    wanted = {preprocess(spec, read_image(file)).tobytes() for file in folder.rglob("*.png")}
    samples = [image for split in found.splits.values() for image in split.inputs["image"]]
    assert {preprocess(spec, image).tobytes() for image in samples} == wanted
    # The twin: a gray level more in one corner is another sample.
    for image in samples:
        changed = image.copy()
        changed[0, 0] ^= 1
        assert preprocess(spec, changed).tobytes() not in wanted


def test_copies_of_an_image_never_straddle_splits(write: Write) -> None:
    folder = write(ZERO_AND_ONE, 12)
    for file in sorted(folder.rglob("*.png")):
        # Another format, mode and name, the same pixels.
        Image.open(file).convert("RGB").save(file.with_suffix(".bmp"))
    found = load(folder)
    sets = [keys(found, split) for split in found.splits]
    assert sum(len(split) for split in found.splits.values()) == 48
    assert sum(len(each) for each in sets) == len(set.union(*sets)) == 24


def test_split_does_not_depend_on_names_and_twins_of_keys_are_needed_for_that(
    write: Write,
) -> None:
    folder = write(ZERO_AND_ONE, 12)
    before = load(folder)
    for i, file in enumerate(sorted(folder.rglob("*.png"), reverse=True)):
        file.rename(file.with_name(f"renamed-{i}.png"))
    after = load(folder)
    assert after.sha256 == before.sha256
    assert all(keys(after, split) == keys(before, split) for split in before.splits)
    distinct = split_class([f"{i}" for i in range(100)], Shares(), "x")
    assert [len(chosen) for chosen in distinct.values()] == [70, 10, 20]


def test_any_format_and_size_is_read(write: Write, digits: Dataset) -> None:
    folder = write(ZERO_AND_ONE, 6)
    source = Image.fromarray(digits_of(digits, 1, 7)[-1])
    source.resize((50, 31)).save(folder / "one" / "wide.jpg")
    source.resize((9, 64)).save(folder / "one" / "tall.gif")
    source.convert("RGBA").save(folder / "one" / "alpha.webp", lossless=True)
    source.convert("RGB").save(folder / "one" / "color.tiff")
    said: list[str] = []
    found = load(folder, said)
    assert found.channels == 1, "gray pixels in files with three channels are gray"
    assert {s.inputs["image"].shape[1:] for s in found.splits.values()} == {(28, 28, 1)}
    assert sum(len(split) for split in found.splits.values()) == 16


def test_channels_are_chosen_from_the_data(write: Write) -> None:
    folder = write(ZERO_AND_ONE, 6)
    red = np.zeros((28, 28, 3), np.uint8)
    red[4:20, 4:20, 0] = 200
    Image.fromarray(red).save(folder / "one" / "red.png")
    said: list[str] = []
    assert load(folder, said).channels == 3
    assert any("gray files among color ones" in line and "000.png" in line for line in said)
    assert load(folder, channels="gray").channels == 1
    (folder / "one" / "red.png").unlink()
    assert load(folder).channels == 1
    assert load(folder, channels="rgb").channels == 3


def spoil_image(folder: Path) -> str:
    (folder / "one" / "003.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return "003.png"


def spoil_text(folder: Path) -> str:
    (folder / "one" / "notes.txt").write_text("these are ones")
    return "notes.txt"


def spoil_empty(folder: Path) -> str:
    (folder / "nothing").mkdir()
    return "nothing"


def spoil_single(folder: Path) -> str:
    shutil.rmtree(folder / "zero")
    return "1 class(es)"


def spoil_both(folder: Path) -> str:
    shutil.copy(folder / "one" / "002.png", folder / "zero" / "same.png")
    return "same.png"


def spoil_nested(folder: Path) -> str:
    (folder / "one" / "deeper").mkdir()
    return "deeper"


def spoil_few(folder: Path) -> str:
    for file in sorted((folder / "one").iterdir())[2:]:
        file.unlink()
    return "one"


def spoil_missing(folder: Path) -> str:
    shutil.rmtree(folder)
    return "images"


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_image,
        spoil_text,
        spoil_empty,
        spoil_single,
        spoil_both,
        spoil_nested,
        spoil_few,
        spoil_missing,
    ],
)
def test_a_folder_that_cannot_be_used_is_an_error_that_names_what(
    write: Write, spoil: Callable[[Path], str]
) -> None:
    folder = write(ZERO_AND_ONE)
    load(folder)  # the twin: before it was spoilt it was good
    named = spoil(folder)
    with pytest.raises(InvalidDataError) as caught:
        load(folder)
    assert named in str(caught.value)


def test_hidden_and_stray_files_are_left_out_and_named(write: Write) -> None:
    folder = write(ZERO_AND_ONE)
    said: list[str] = []
    clean = load(folder, said)
    assert not any("left out" in line for line in said)
    (folder / ".cache").mkdir()
    (folder / "one" / ".DS_Store").write_bytes(b"x")
    (folder / "README.txt").write_text("about")
    found = load(folder, said)
    assert found.sha256 == clean.sha256
    assert found.labels == clean.labels
    assert any(".DS_Store" in line and ".cache" in line for line in said)
    assert any("README.txt" in line for line in said)


def test_without_a_folder_the_error_shows_the_command() -> None:
    with pytest.raises(UsageError, match="--data DIR"):
        load(None)


@pytest.mark.parametrize(
    "wrong",
    [{"size": 4}, {"channels": "cmyk"}, {"zoom": 1.0}, {"test": 0.95}, {"validation": 0.0}],
)
def test_values_that_cannot_be_used_are_usage_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ImageFolderNet(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "channels", "depth"),
    [(8, "auto", 1), (28, "rgb", 3), (64, "gray", 1), (100, "auto", 1)],
)
def test_recipe_fits_the_folder_and_its_net_ends_in_one_answer_per_class(
    write: Write, size: int, channels: str, depth: int
) -> None:
    hyper = ImageFolderNet(size=size, filters=4, channels=channels)
    dataset = RECIPE.load(write(ZERO_AND_ONE), hyper, lambda line: None)
    assert RECIPE.specialise is not None
    fitted = RECIPE.specialise(dataset, hyper)
    check_dataset(dataset, fitted.inputs, fitted.outputs)
    assert fitted.outputs["label"].labels == ("one", "zero")
    model = fitted.build(hyper)
    assert model.input_shape == (None, size, size, depth)
    assert model.output_shape == (None, 2)
    assert 4 <= model.layers[-4].output.shape[1] <= 7, "the grid that the last convolution sees"


def test_folder_trains_converts_and_answers_for_an_image_of_any_size(
    write: Write, run_python: RunPython, tmp_path: Path
) -> None:
    folder = write({"zero": 0, "one": 1, "seven": 7}, 120)
    run = train_quietly(
        *("image_folder", tmp_path / "runs", folder),
        **{"size": 28, "filters": 8, "epochs": 6, "learning_rate": 0.01},
    )
    assert run.info.metrics["test"]["accuracy"] >= 0.85
    assert run.info.outputs["label"].labels == ("one", "seven", "zero")
    assert run.info.inputs["image"].shape == (None, None, None)
    done = run_python("-m", "convert", "--int8", "--format", "tflite", "--max-drop", "0.2")
    assert done.returncode == 0, done.stderr
    large = [tmp_path / f"{label}.png" for label in ("zero", "one", "seven")]
    for path in large:
        Image.open(folder / path.stem / "005.png").resize((93, 70)).convert("RGB").save(path)
    done = run_python("-m", "runtime", "predict", "bundles/image_folder", *large, "--json")
    assert done.returncode == 0, done.stderr
    answers = [one["outputs"]["label"]["label"] for one in json.loads(done.stdout)["predictions"]]
    assert answers == ["zero", "one", "seven"]
