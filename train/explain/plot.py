"""The pictures of what decided an answer: blue speaks for it, red against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from edgeward.runtime.arrays import Array, Floats
from edgeward.train.explain.plot_words import draw_words, printable, words_height

__all__ = ["SHEET", "Explained", "Words", "plot_overview", "plot_sample"]

# Pictures on the overview at most: more would be too small, and the sheet too large to open.
SHEET = 60

_COLORS = colormaps["RdBu"]

_BARS = 20

_LINES = 5


@dataclass(frozen=True)
class Words:
    """The words of a text.

    Args:
        words: Those that the model read.
        weights: float32, one per word.
        known: Whether the vocabulary has it.
        unread: How many more the text has.
    """

    words: tuple[str, ...]
    weights: Floats
    known: tuple[bool, ...]
    unread: int


@dataclass(frozen=True)
class Explained:
    """One test sample and what decided the model's answer to it.

    Args:
        index: Number in the test split.
        truth: The target, in words.
        answer: The model's, in words.
        right: Whether they agree; None for a regression.
        score: Value of the answered class; None for a regression.
        raw: The raw sample: uint8 [H, W, 1 or 3] of an image, UTF-8 bytes of a text, else numbers.
        image: Whether it is an image.
        weights: float32 [h, w] of an image, else the shape of the preprocessed sample.
        without: The answer's score for an input that says nothing; None if not asked.
        words: Of a text; None for the others.
        names: Of the features, where the weights have one dimension.
        file: Name of the picture.
    """

    index: int
    truth: str
    answer: str
    right: bool | None
    score: float | None
    raw: Array | bytes
    image: bool
    weights: Floats
    without: float | None
    words: Words | None
    names: tuple[str, ...]
    file: str

    @property
    def poles(self) -> tuple[str, str]:
        """What red and blue mean."""
        if self.right is None:
            return "lowers the answer", "raises the answer"
        return "against the answer", "for the answer"

    @property
    def title(self) -> str:
        """What was asked and what was answered."""
        answer, truth = printable(self.answer, 30), printable(self.truth, 30)
        score = "" if self.score is None else f" ({self.score:.3f})"
        verdict = {None: "", True: "right: ", False: "WRONG: "}[self.right]
        return f"{verdict}answer {answer}{score}, truth {truth}"


def plot_sample(path: Path, one: Explained) -> None:
    """Draw one sample into a PNG file."""
    if one.words is not None:
        height = 1.2 + words_height(one.words.words)
        figure = Figure(figsize=(8.4, height))
        axes = figure.add_axes((0.02, 0.02, 0.96, 1 - 1.0 / height))
        draw_words(axes, one.words, _color(one.words.weights))
        figure.text(0.02, 1 - 0.6 / height, _headline(one), parse_math=False)
        bar = figure.add_axes((0.75, 1 - 0.62 / height, 0.23, 0.12 / height))
        figure.colorbar(_scale(), cax=bar, orientation="horizontal", ticks=[])
        bar.set_title("against       for the answer", fontsize=8, pad=3)
    elif _is_map(one):
        figure = Figure(figsize=(8.4, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_raw(left, one)
        _draw_map(right, one)
        _legend(figure, right, one)
        figure.suptitle(_headline(one), parse_math=False)
    else:
        shape = one.weights.shape
        figure = Figure(figsize=(7, 3.4 if len(shape) > 1 else _bars_height(one)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        _draw(axes, one, compact=False)
        figure.suptitle(_headline(one), fontsize=10, parse_math=False)
        if len(shape) > 1:
            _legend(figure, axes, one)
    figure.savefig(path, dpi=110)


def plot_overview(path: Path, shown: Sequence[Explained]) -> None:
    """Draw all samples, up to ``SHEET`` of them, on one sheet."""
    some, first = shown[:SHEET], shown[0]
    against, for_it = first.poles
    more = "" if len(some) == len(shown) else f"; {len(some)} of {len(shown)}"
    legend = f"blue: {for_it}, red: {against}{more}"
    if first.words is not None:
        _overview_of_words(path, some, legend)
        return
    width, height, most = (1.9, 2.2, 8) if _is_map(first) else (4.2, 2.4, 4)
    columns = min(most, len(some), max(1, round(np.sqrt(len(some) * height / width * 1.6))))
    rows = -(-len(some) // columns)
    figure = Figure(figsize=(columns * width, rows * height + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, one in zip(grid, some, strict=False):
        _draw(axes, one, compact=True)
        axes.set_title(_short(one), fontsize=8, color=_verdict(one), parse_math=False)
    for axes in grid[len(some) :]:
        axes.set_axis_off()
    figure.suptitle(legend, fontsize=9)
    figure.savefig(path, dpi=110)


def _overview_of_words(path: Path, some: Sequence[Explained], legend: str) -> None:
    """Draw texts below each other, each as high as it needs."""
    texts = [one.words for one in some if one.words is not None]
    heights = [0.35 + min(words_height(text.words), words_height((), _LINES)) for text in texts]
    whole = sum(heights) + 0.4
    figure = Figure(figsize=(8.4, whole))
    figure.text(0.5, 1 - 0.25 / whole, legend, ha="center", fontsize=9)
    top = whole - 0.4
    for one, text, height in zip(some, texts, heights, strict=True):
        axes = figure.add_axes((0.02, (top - height) / whole, 0.96, (height - 0.3) / whole))
        title = _short(one).replace("\n", ", ")
        axes.set_title(title, loc="left", fontsize=8, pad=2, color=_verdict(one), parse_math=False)
        draw_words(axes, text, _color(text.weights), lines=_LINES)
        top -= height
    figure.savefig(path, dpi=110)


def _verdict(one: Explained) -> str:
    return "firebrick" if one.right is False else "black"


def _legend(figure: Figure, axes: Any, one: Explained) -> None:
    bar = figure.colorbar(_scale(), ax=axes, ticks=[-1, 0, 1], shrink=0.85)
    against, for_it = (text.replace(" the ", "\nthe ") for text in one.poles)
    bar.ax.set_yticklabels([against, "0", for_it], fontsize=9)


def _headline(one: Explained) -> str:
    if one.without is None:
        return f"test sample {one.index}\n{one.title}"
    unit = "" if one.right is None else "log-odds "
    sums = f"{unit}{one.without:.2f} by default, {float(one.weights.sum()):+.2f} by this input"
    return f"test sample {one.index}: {sums}\n{one.title}"


def _short(one: Explained) -> str:
    answer, truth = printable(one.answer, 14), printable(one.truth, 14)
    score = "" if one.score is None else f" {one.score:.2f}"
    if one.right:
        return f"#{one.index}: {answer}{score}"
    return f"#{one.index}: {answer}{score}\ntruth {truth}"


def _is_map(one: Explained) -> bool:
    return one.words is None and (one.image or np.ndim(one.raw) == 3)


def _draw(axes: Any, one: Explained, *, compact: bool) -> None:
    if _is_map(one):
        _draw_map(axes, one)
    elif one.weights.ndim > 1:
        _draw_series(axes, one)
    else:
        _draw_bars(axes, one, 6 if compact else _BARS, 7 if compact else 9)


def _peak(weights: Floats) -> float:
    return float(np.abs(weights).max(initial=0)) or 1.0


def _color(weights: Floats) -> Any:
    """Return a function of weights to colors: white is 0, each sample has its own scale."""
    peak = _peak(weights)
    return lambda values: _COLORS(0.5 + 0.36 * np.asarray(values) / peak)


def _scale() -> ScalarMappable:
    # Every sample's own largest weight is 1.
    return ScalarMappable(Normalize(-1, 1), _COLORS)


def _gray(one: Explained) -> Array:
    values = np.asarray(one.raw, np.float32)
    if values.ndim == 3:
        values = values.mean(axis=-1)
    low, high = (0.0, 255.0) if one.image else (float(values.min()), float(values.max()))
    return (values - low) / ((high - low) or 1.0)


def _draw_raw(axes: Any, one: Explained) -> None:
    raw = np.asarray(one.raw)
    if one.image and raw.shape[-1] == 3:
        axes.imshow(raw, interpolation="nearest")
    else:
        axes.imshow(_gray(one), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def _draw_map(axes: Any, one: Explained) -> None:
    """Draw the weights over a pale image: the more weight, the less of the image."""
    gray = _gray(one)
    weights = one.weights if one.weights.ndim == 2 else one.weights.sum(axis=-1)
    height, width = gray.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    # Dark ink on light paper shows both colors; which of them the raw image has is on the left.
    ink = gray if gray.mean() > 0.5 else 1 - gray
    axes.imshow(0.72 + 0.28 * ink, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    share = np.clip(weights / _peak(weights), -1, 1)
    layer = _COLORS(0.5 + 0.5 * share)
    layer[..., 3] = 0.85 * np.sqrt(np.abs(share))
    axes.imshow(layer, extent=extent, interpolation="bilinear")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("silver")


def _bars_height(one: Explained) -> float:
    return 1.5 + 0.32 * min(one.weights.size, _BARS + 1)


def _draw_bars(axes: Any, one: Explained, most: int, size: float) -> None:
    weights, values = one.weights.reshape(-1), np.asarray(one.raw).reshape(-1)
    order = np.argsort(-np.abs(weights), kind="stable")[:most]
    names = [f"{printable(one.names[i], 24)} = {values[i]:.4g}" for i in order]
    lengths = weights[order].tolist()
    if len(weights) > most:
        names.append(f"the {len(weights) - most} others")
        lengths.append(float(weights.sum() - weights[order].sum()))
    axes.barh(range(len(names)), lengths, color=_COLORS(0.5 + 0.35 * np.sign(lengths)))
    axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.tick_params(axis="x", labelsize=size)
    unit = "log-odds of the answer" if one.right is not None else "change of the answer"
    axes.set_xlabel(unit, fontsize=size)


def _draw_series(axes: Any, one: Explained) -> None:
    """Draw each channel over time, a point per step in the color of its weight."""
    values = np.asarray(one.raw, np.float64).reshape(len(one.weights), -1)
    weights = one.weights.reshape(len(one.weights), -1)
    color = _color(weights)
    for channel in range(values.shape[1]):
        axes.plot(values[:, channel], color="silver", zorder=1)
        axes.scatter(
            range(len(values)),
            values[:, channel],
            c=color(weights[:, channel]),
            s=12 + 60 * np.abs(weights[:, channel]) / _peak(weights),
            edgecolors="gray",
            linewidths=0.4,
            zorder=2,
        )
    axes.set_xlabel("time step", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
