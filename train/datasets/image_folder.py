"""A user's own images: one sub-folder per class, any format and size.

Samples are kept after the resize: all have one shape, and the resize of preprocessing leaves
them as they are. The bundle takes images of any size all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.runtime.image import read_image
from edgeward.runtime.preprocessing import preprocess
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import InputSpec
from edgeward.runtime.steps import Grayscale, ResizeBilinear
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.class_folders import find_classes, group_of, name_some
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.group_split import split_groups
from edgeward.train.datasets.split import Shares, split_class

__all__ = ["NAME", "ImageFolder", "load"]

NAME = "image_folder"
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """A data set that brought its own classes.

    Args:
        labels: Names of the sub-folders, sorted.
        channels: 1 or 3.
    """

    labels: tuple[str, ...]
    channels: int


@dataclass(frozen=True)
class _Image:
    """One decoded image: its file, the hash of its pixels, and its pixels at the wanted size.

    ``luma`` is what a device makes of it for a gray model: first one channel, then the size.
    """

    path: Path
    digest: str
    gray: bool
    pixels: Array
    luma: Array


def load(
    path: Path | None, size: int, channels: str, shares: Shares, say: Say, group: str = ""
) -> ImageFolder:
    """Load images as raw samples: ``image`` uint8 [N, size, size, C], ``label`` int64 [N].

    Args:
        path: The folder.
        size: Side in pixels to which every image is made.
        channels: ``rgb``, ``gray``, or ``auto``: gray if no image has color.
        shares: Parts of each class that validate and test.
        say: Told what was read and what was left out.
        group: How a file tells its group, see ``class_folders.group_of``: no group is in two
            splits. Empty: each image stands for itself.

    Raises:
        UsageError: No folder was named, or ``group`` is no pattern.
        InvalidDataError: An image cannot be read, a class is empty or too small, there is one
            class only, or an image is in two classes; names the file.
    """
    if path is None:
        raise UsageError(
            "Which images?",
            expected="a folder with one sub-folder per class",
            fix="python -m train image_folder --data DIR",
        )
    classes = find_classes(path, say, group)
    images = {label: [_read(file, size) for file in files] for label, files in classes.items()}
    everything = [image for of_class in images.values() for image in of_class]
    _refuse_contradictions(images)
    depth = _choose_channels(channels, everything, say)
    places: dict[str, list[tuple[_Image, int]]] = {split: [] for split in _SPLITS}
    notes: tuple[str, ...] = ()
    if group:
        pairs = [(image, index) for index, one in enumerate(images.values()) for image in one]
        found = split_groups(
            groups=[group_of(image.path, group) for image, _ in pairs],
            keys=[image.digest for image, _ in pairs],
            classes=[index for _, index in pairs],
            shares=shares,
            labels=tuple(images),
            where=str(path),
            say=say,
        )
        places = {split: [pairs[i] for i in chosen] for split, chosen in found.places.items()}
        notes = found.notes
    for index, (label, of_class) in enumerate(() if group else images.items()):
        keys = [image.digest for image in of_class]
        for split, chosen in split_class(keys, shares, f"{path / label}").items():
            places[split] += [(of_class[i], index) for i in chosen]
    say(
        f"Data: {len(everything):,} images of {len(images)} classes from {path}, "
        f"{'gray' if depth == 1 else 'color'}, made {size} x {size}."
    )
    splits = {split: _samples(chosen, depth) for split, chosen in places.items()}
    return ImageFolder(
        name=NAME,
        source=str(path),
        sha256=_hash(images),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        groups={
            split: np.array([group_of(image.path, group) for image, _ in _ordered(chosen)])
            for split, chosen in places.items()
            if group
        },
        notes=notes,
        labels=tuple(images),
        channels=depth,
    )


def _read(file: Path, size: int) -> _Image:
    pixels = read_image(file)
    # Color files without color are gray: luma of equal channels is that channel, exactly.
    gray = bool((pixels == pixels[..., :1]).all())
    content = pixels[..., :1] if gray else pixels
    digest = hashlib.sha256(f"{content.shape}".encode() + content.tobytes()).hexdigest()
    resize = ResizeBilinear(size, size)
    as_is = InputSpec("image", "uint8", (None, None, None), (resize,))
    to_luma = InputSpec("image", "uint8", (None, None, None), (Grayscale(), resize))
    return _Image(
        path=file,
        digest=digest,
        gray=gray,
        pixels=preprocess(as_is, pixels, where=str(file)),
        luma=preprocess(to_luma, pixels, where=str(file)),
    )


def _refuse_contradictions(images: Mapping[str, Sequence[_Image]]) -> None:
    seen: dict[str, tuple[str, Path]] = {}
    for label, of_class in images.items():
        for image in of_class:
            other, where = seen.setdefault(image.digest, (label, image.path))
            if other != label:
                raise InvalidDataError(
                    "The same image is in two classes.",
                    received=f"{where} and {image.path}",
                    fix="delete one of the two",
                )


def _choose_channels(wanted: str, images: Sequence[_Image], say: Say) -> int:
    if wanted == "gray" or (wanted == "auto" and all(image.gray for image in images)):
        return 1
    single = [image.path for image in images if image.pixels.shape[-1] == 1]
    if single:
        say(
            f"Data: gray files among color ones: {name_some(single)}. A device will refuse gray "
            "files; --set channels=gray makes a model that takes both."
        )
    return 3


def _ordered(chosen: Sequence[tuple[_Image, int]]) -> list[tuple[_Image, int]]:
    # By hash, not class by class: any first part is a fair sample.
    return sorted(chosen, key=lambda pair: (pair[0].digest, pair[0].path))


def _samples(chosen: Sequence[tuple[_Image, int]], channels: int) -> Samples:
    ordered = _ordered(chosen)
    pixels = [
        image.luma
        if channels == 1
        else np.broadcast_to(image.pixels, (*image.pixels.shape[:2], channels))
        for image, _ in ordered
    ]
    labels = np.array([label for _, label in ordered], np.int64)
    return Samples({"image": np.stack(pixels)}, {"label": labels})


def _hash(images: Mapping[str, Sequence[_Image]]) -> str:
    digest = hashlib.sha256()
    for label, of_class in images.items():
        digest.update(f"{label}\n".encode())
        digest.update("".join(f"{key}\n" for key in sorted(i.digest for i in of_class)).encode())
    return digest.hexdigest()
