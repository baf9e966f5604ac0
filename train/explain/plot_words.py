"""Words on colored ground, wrapped to lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Protocol

from matplotlib import font_manager

from edgeward.runtime.arrays import Floats

__all__ = ["COLUMNS", "draw_words", "printable", "words_height"]

# Characters per line. In a font of one width, lines are wrapped by counting.
COLUMNS = 84

_FONT = ("DejaVu Sans Mono", "DejaVu Sans")

_LINE = 0.26  # inches

_LONGEST = 40


class Words(Protocol):
    """What is drawn; see ``train.explain.plot.Words``."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words."""

    @property
    def weights(self) -> Floats:
        """One number per word."""

    @property
    def known(self) -> tuple[bool, ...]:
        """Whether the vocabulary has it."""

    @property
    def unread(self) -> int:
        """Words that the model did not read."""


def printable(text: str, longest: int = _LONGEST) -> str:
    """Return text that matplotlib's own fonts can draw without a warning, cut to a length.

    >>> printable("4 \U0001f600")
    '4 \ufffd'
    """
    short = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return "".join(letter if ord(letter) in _letters() else "\ufffd" for letter in short)


def words_height(words: Sequence[str], lines: int | None = None) -> float:
    """Return the inches that words take, or so many lines, with one line for the rest."""
    return _LINE * ((sum(1 for _ in _lines(words)) if lines is None else lines) + 1)


def draw_words(axes: Any, text: Words, color: Any, lines: int | None = None) -> None:
    """Draw words in lines of ``COLUMNS`` characters.

    Args:
        axes: Filled whole.
        text: Words and weights; those that the vocabulary has not are gray and slanted.
        color: Function of a weight to a color.
        lines: Draw at most so many lines; None is all.
    """
    wrapped = list(_lines(text.words))
    shown = wrapped if lines is None else wrapped[:lines]
    rows = len(shown) + 1
    axes.set_xlim(0, COLUMNS)
    axes.set_ylim(rows, 0)
    axes.set_axis_off()
    inches = axes.figure.get_figwidth() * axes.get_position().width
    size = 72 * inches / COLUMNS / 0.602 * 0.97  # 0.602 em is the width of the font
    for row, line in enumerate(shown):
        for column, at, word in line:
            axes.text(
                column,
                row + 0.5,
                word,
                family=list(_FONT),
                fontsize=size,
                va="center",
                color="black" if text.known[at] else "dimgray",
                style="normal" if text.known[at] else "italic",
                backgroundcolor="none",
                bbox={"facecolor": color(text.weights[at]), "edgecolor": "none", "pad": 1.5},
                parse_math=False,
            )
    hidden = text.unread + sum(len(line) for line in wrapped[len(shown) :])
    if hidden:
        note = "not read" if hidden == text.unread else "more"
        axes.text(0, len(shown) + 0.5, f"... {hidden} words {note}", fontsize=size, va="center")


def _lines(words: Sequence[str]) -> Iterator[list[tuple[int, int, str]]]:
    """Yield lines of (column, number of the word, word); at least one."""
    line: list[tuple[int, int, str]] = []
    column = 0
    for at, word in enumerate(words):
        drawn = printable(word)
        if column + len(drawn) > COLUMNS and line:
            yield line
            line, column = [], 0
        line.append((column, at, drawn))
        column += len(drawn) + 1
    yield line


@cache
def _letters() -> frozenset[int]:
    found: set[int] = set()
    for name in _FONT:
        found |= set(font_manager.get_font(font_manager.findfont(name)).get_charmap())
    return frozenset(found)
