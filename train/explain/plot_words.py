"""Words on colored ground, wrapped to lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
        for placed in line:
            known = text.known[placed.index]
            axes.text(
                placed.column,
                row + 0.5,
                placed.drawn,
                family=list(_FONT),
                fontsize=size,
                va="center",
                color="black" if known else "dimgray",
                style="normal" if known else "italic",
                backgroundcolor="none",
                bbox={
                    "facecolor": color(text.weights[placed.index]),
                    "edgecolor": "none",
                    "pad": 1.5,
                },
                parse_math=False,
            )
    hidden = text.unread + sum(len(line) for line in wrapped[len(shown) :])
    if hidden:
        note = "not read" if hidden == text.unread else "more"
        axes.text(0, len(shown) + 0.5, f"... {hidden} words {note}", fontsize=size, va="center")


@dataclass(frozen=True)
class _Placed:
    """A word in a line: the column where it begins, its number in the text, and how it is drawn."""

    column: int
    index: int
    drawn: str


def _lines(words: Sequence[str]) -> Iterator[list[_Placed]]:
    """Yield lines of words; at least one."""
    line: list[_Placed] = []
    column = 0
    for index, word in enumerate(words):
        drawn = printable(word)
        if column + len(drawn) > COLUMNS and line:
            yield line
            line, column = [], 0
        line.append(_Placed(column, index, drawn))
        column += len(drawn) + 1
    yield line


@cache
def _letters() -> frozenset[int]:
    found: set[int] = set()
    for name in _FONT:
        found |= set(font_manager.get_font(font_manager.findfont(name)).get_charmap())
    return frozenset(found)
