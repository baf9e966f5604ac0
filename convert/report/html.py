"""``report.html``: one file, with its plots as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from edgeward.convert.drift.metrics import Decisions
from edgeward.convert.report.template import render
from edgeward.convert.report.words import show, show_time

if TYPE_CHECKING:
    from edgeward.convert.report.report import ConversionReport

__all__ = ["confusion_plots", "drift_plot", "pareto_plot", "size_plot", "spread", "to_html"]

_COLOURS = {"pass": "#1a7f37", "inconclusive": "#9a6700", "refused": "#cf222e"}

_MAX_CLASSES = 40

# Room of an artifact's name in a plot, points.
_NAME_WIDTH, _NAME_HEIGHT = 90, 11

# Drops, in percent of the budget, up to which a linear axis tells the artifacts apart.
_LINEAR = 300


def to_html(report: ConversionReport) -> bytes:
    """Return the HTML of a report: one file, no script, no link to anywhere."""
    return render(
        "report.html.j2",
        report=report,
        drift_plot=drift_plot(report),
        size_plot=size_plot(report),
        pareto_plot=pareto_plot(report),
        confusion_plots=confusion_plots(report),
        show=show,
        show_time=show_time,
    ).encode()


def _figure(width: float, height: float) -> Figure:
    # A Figure of its own, not pyplot: no global state, no display.
    return Figure(figsize=(width, height), layout="constrained")


def _uri(figure: Figure) -> str:
    # A fixed salt and no date: the same conversion gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": "edgeward", "svg.fonttype": "path"}):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def drift_plot(report: ConversionReport) -> str:
    """Plot drop and upper bound of each artifact in each runtime against the budget.

    Returns:
        A data URI; empty where nothing was judged.
    """
    rows = [
        (f"{artifact.id} · {runtime}", drift)
        for artifact in report.artifacts
        for runtime, drifts in artifact.drifts.items()
        for drift in drifts
    ]
    if not rows:
        return ""
    figure = _figure(8, 1.2 + 0.36 * len(rows))
    axes = figure.subplots()
    for i, (_, drift) in enumerate(rows):
        colour = _COLOURS[drift.verdict]
        # Shares of the budget: accuracies, errors and decibels on one axis.
        drop, bound = 100 * drift.drop / drift.budget, 100 * drift.upper_bound / drift.budget
        axes.plot([drop, bound], [i, i], color=colour, linewidth=2)
        axes.plot(drop, i, "o", color=colour)
        axes.plot(bound, i, "|", color=colour, markersize=12)
    axes.axvline(0, color="#57606a", linewidth=0.8)
    axes.axvline(100, color="#cf222e", linestyle="--")
    axes.text(
        100, 1, "budget", color="#cf222e", ha="center", va="bottom",
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    if max(drift.drop / drift.budget for _, drift in rows) * 100 > _LINEAR:
        axes.set_xscale("symlog", linthresh=100)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("drop (dot) and its 95 % bound (bar), % of the budget")
    return _uri(figure)


def size_plot(report: ConversionReport) -> str:
    """Plot the size of each artifact."""
    figure = _figure(8, 1.0 + 0.36 * len(report.artifacts))
    axes = figure.subplots()
    sizes = [artifact.size / 1000 for artifact in report.artifacts]
    bars = axes.barh([a.id for a in report.artifacts], sizes, color="#0969da")
    axes.bar_label(bars, [f"{size:,.0f} kB" for size in sizes], padding=3)
    axes.invert_yaxis()
    axes.set_xlabel("kB")
    axes.margins(x=0.15)
    return _uri(figure)


def pareto_plot(report: ConversionReport) -> str:
    """Plot the size of each artifact against its drop: what lies low and left is better.

    Returns:
        A data URI; empty where nothing was judged.
    """
    points = []
    for artifact in report.artifacts:
        judged = [drift for drifts in artifact.drifts.values() for drift in drifts]
        if judged:
            # Shares of the budget, as in the plot of the drift; the runtime in which it is worst.
            worst = max(judged, key=lambda drift: drift.drop / drift.budget)
            points.append((artifact, 100 * worst.drop / worst.budget))
    if not points:
        return ""
    figure = _figure(8, 4)
    axes = figure.subplots()
    for artifact, drop in points:
        colour = _COLOURS.get(artifact.verdict, "#57606a")
        axes.plot(artifact.size / 1000, drop, "o", color=colour, zorder=3)
    axes.set_xscale("log")
    if max(drop for _, drop in points) > _LINEAR:
        # A refused artifact may be at 100 times the budget; the others would lie on one line.
        axes.set_yscale("symlog", linthresh=100)
    axes.axhline(100, color="#cf222e", linestyle="--", linewidth=0.8)
    axes.text(
        1, 100, "budget ", color="#cf222e", fontsize=8, ha="right", va="bottom",
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip
    axes.axhline(0, color="#afb8c1", linewidth=0.8)
    axes.margins(x=0.2, y=0.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("kB (logarithmic)")
    axes.set_ylabel("drop, % of the budget")
    _name_points(axes, [(a.id, a.size / 1000, drop) for a, drop in points])
    return _uri(figure)


def _name_points(axes: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Write the names right of the points, in a column where points are close to each other."""
    axes.figure.canvas.draw()  # the scales are settled only now
    places = sorted(
        (*(axes.transData.transform((x, y)) * 72 / axes.figure.dpi), name, (x, y))
        for name, x, y in points
    )
    columns: list[list[Any]] = []
    for place in places:
        if columns and place[0] - columns[-1][0][0] < _NAME_WIDTH:
            columns[-1].append(place)
        else:
            columns.append([place])
    for column in columns:
        right = max(place[0] for place in column)
        column.sort(key=lambda place: (place[1], place[2]))
        heights = spread([place[1] for place in column], _NAME_HEIGHT)
        for (across, up, name, xy), height in zip(column, heights, strict=True):
            axes.annotate(
                name, xy, textcoords="offset points", fontsize=8, va="center",
                xytext=(right - across + (10 if len(column) == 1 else 22), height - up),
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
                arrowprops={"arrowstyle": "-", "color": "#afb8c1", "lw": 0.6},
            )  # fmt: skip


def spread(heights: Sequence[float], room: float) -> list[float]:
    """Move heights apart, as little as it takes for each to have its room.

    >>> spread([0.0, 1.0, 50.0], 10.0)
    [-4.5, 5.5, 50.0]
    """
    groups: list[tuple[float, int]] = []  # middle and number of each group that touches
    for height in sorted(heights):
        groups.append((height, 1))
        while len(groups) > 1:
            (low, below), (high, above) = groups[-2:]
            if high - low >= room * (below + above) / 2:
                break
            # Both together lie where their members would be best on average.
            groups[-2:] = [((low * below + high * above) / (below + above), below + above)]
    return [
        middle + room * (i - (number - 1) / 2) for middle, number in groups for i in range(number)
    ]


def confusion_plots(report: ConversionReport) -> list[tuple[str, str]]:
    """Plot, for each artifact, its confusion matrix and the difference to the float model's.

    Returns:
        Title and data URI of each plot.
    """
    plots = []
    for artifact in report.artifacts:
        for runtime, drifts in artifact.drifts.items():
            for drift in drifts:
                made = drift.decisions
                if made is not None and 2 <= len(made.confusion) <= _MAX_CLASSES:
                    names = report.labels.get(drift.output) or [
                        str(i) for i in range(len(made.confusion))
                    ]
                    plots.append((f"{artifact.id} · {runtime}", _confusion(made, names)))
    return plots


def _confusion(made: Decisions, names: Sequence[str]) -> str:
    matrix = np.array(made.confusion)
    difference = matrix - np.array(made.reference_confusion)
    figure = _figure(9, 4.2)
    left, right = figure.subplots(1, 2)
    _matrix(left, matrix, names, "confusion", "Blues", (0, max(1, matrix.max())), "d")
    span = max(1, int(np.abs(difference).max()))
    _matrix(right, difference, names, "difference to float", "RdBu_r", (-span, span), "+d")
    return _uri(figure)


def _matrix(
    axes: Any,
    matrix: Any,
    names: Sequence[str],
    title: str,
    colours: str,
    limits: tuple[int, int],
    form: str,
) -> None:
    axes.imshow(matrix, cmap=colours, vmin=limits[0], vmax=limits[1])
    axes.set_title(title)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    if len(names) > 12:
        return
    for (row, column), value in np.ndenumerate(matrix):
        if value:
            dark = abs(value) > 0.6 * max(abs(limits[0]), limits[1])
            axes.text(
                column, row, format(int(value), form), ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
