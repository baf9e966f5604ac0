"""Pictures of a run: curves, confusion matrix, what a generator makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from edgeward.runtime.arrays import Array
from edgeward.train.datasets.rare import MAJORITY, RECALL

__all__ = ["plot_confusion", "plot_curves", "plot_samples", "tile"]


def plot_curves(
    path: Path,
    history: Sequence[Mapping[str, float]],
    metric: str,
    majority: float | None = None,
) -> None:
    """Draw every loss per epoch, and the metric of the training and the validation split.

    Where classes are rare, a third panel shows what stands beside the accuracy then.

    Args:
        path: PNG file to write.
        history: One row per epoch with ``epoch``, any columns ``*_loss``, and perhaps
            ``{train,validation}_METRIC``.
        metric: Name of the metric.
        majority: Share of the largest class in the validation split, drawn as a line beside the
            metric; None where classes are not rare.
    """
    losses = [name for name in history[0] if name.endswith("_loss")]
    scores = [name for name in history[0] if name in (f"train_{metric}", f"validation_{metric}")]
    wanted = [("loss", losses), (metric, scores)]
    if majority is not None:
        beside = [n for n in history[0] if n.startswith("validation_") and n not in losses + scores]
        wanted.append(("validation", beside))
    panels = [(title, names) for title, names in wanted if names]
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, (title, names) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for name in names:
            split = name.removesuffix(f"_{title}")
            if title == "validation":
                split = name.removeprefix("validation_")
            style = {"train": "o--", "validation": "o-"}.get(split, ".:")
            label = split.replace("_", " ").replace("$", r"\$")
            axes.plot(epochs, [row[name] for row in history], style, label=label)
        if title == metric and majority is not None:
            axes.axhline(majority, color="gray", linestyle=":", label="always the largest class")
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def plot_confusion(
    path: Path,
    truth: Array,
    answers: Array,
    labels: Sequence[str],
    beside: Mapping[str, float] | None = None,
) -> Array:
    """Draw the confusion matrix.

    Args:
        path: PNG file to write.
        truth: Class indices, int64 [N].
        answers: The model's class indices, int64 [N].
        labels: Class names.
        beside: Metrics of the split where classes are rare: the recall of each class and the AUC
            are written to it. None where they are not.

    Returns:
        int64 [classes, classes], rows are the truth.
    """
    count = len(labels)
    matrix = np.bincount(truth * count + answers, minlength=count * count).reshape(count, count)
    # Two more lines of title, and the recalls beside the names.
    more = 0.0 if beside is None else 0.6
    size = (1.5 + 0.55 * count + more, 1 + 0.55 * count + more)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    # The diagonal would drown the errors: each row is scaled by its own size, on a root scale.
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(count, count):
        if matrix[row, column]:
            dark = share[row, column] > 0.25
            color = "white" if dark else "black"
            axes.text(column, row, matrix[row, column], ha="center", va="center", color=color)
    # Names of people's own classes: long ones would overlap, and "$" is no formula.
    slanted: dict[str, Any] = {}
    if max(map(len, labels)) > 5:
        slanted = {"rotation": 45, "ha": "right"}
    axes.set_xticks(range(count), labels, parse_math=False, **slanted)
    title = f"{int(matrix.sum() - np.trace(matrix))} errors in {int(matrix.sum())}"
    rows = list(labels)
    if beside is not None:
        recalls = {name: beside.get(f"{RECALL}{name}") for name in labels}
        rows = [name if (r := recalls[name]) is None else f"{name} ({r:.1%})" for name in labels]
        title += f"\nlargest class {beside[MAJORITY]:.1%}"
        title += f"\nAUC {beside['auc']:.3f}" if "auc" in beside else ""
    axes.set_yticks(range(count), rows, parse_math=False)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth" if beside is None else "truth (recall)")
    axes.set_title(title)
    figure.savefig(path, dpi=120)
    return matrix


def tile(images: Array, columns: int) -> Array:
    """Return one image of many: [N, H, W] becomes [rows * H, columns * W], row by row.

    N must be a multiple of ``columns``.
    """
    count, height, width = images.shape
    grid = images.reshape(count // columns, columns, height, width).swapaxes(1, 2)
    return np.asarray(grid.reshape(count // columns * height, columns * width))


def plot_samples(path: Path, images: Array, title: str, columns: int = 10) -> None:
    """Draw gray images in a grid.

    Args:
        path: PNG file to write.
        images: float32 [N, H, W, 1] of 0..1, N a multiple of ``columns``.
        title: Stands above the grid.
        columns: Images per row.
    """
    grid = tile(images[..., 0], columns)
    figure = Figure(figsize=(5, 5 * grid.shape[0] / grid.shape[1] + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid, cmap="gray", vmin=0, vmax=1)
    axes.set_title(title)
    axes.set_axis_off()
    figure.savefig(path, dpi=120)
