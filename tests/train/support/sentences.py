"""Texts whose class is plain: for tests of what learns from texts, without any network."""

from __future__ import annotations

from pathlib import Path

from edgeward.train.datasets.texts import LabelledText

__all__ = ["sentences", "write_folder"]


def sentences(count: int) -> list[LabelledText]:
    """Texts whose class is plain, all different."""
    openings = ["The film is", "What a plot:", "Its music, sadly or not, was"]
    return [
        LabelledText(f"{openings[i % 3]} {('awful', 'great')[i % 2]}, said {i}!".encode(), i % 2)
        for i in range(count)
    ]


def write_folder(path: Path, count: int = 120) -> Path:
    for index, one in enumerate(sentences(count)):
        folder = path / ("ham", "spam")[one.label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.txt").write_bytes(one.text)
    return path
