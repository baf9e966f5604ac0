"""The picture of a search: how it went, and what each hyper-parameter did to the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from edgeward.runtime.arrays import Array
from edgeward.train.search.study import COMPLETE, PRUNED, Trial

__all__ = ["plot_study"]

# A learning rate that is far too large would squeeze all other trials into a line: the axis ends
# so many times the distance from the best to the median away from the best.
_REACH = 6.0

_GRAY, _RED, _GOLD = "#8c8c8c", "#c0392b", "#e8a013"


def plot_study(
    path: Path,
    trials: Sequence[Trial],
    space: Mapping[str, tuple[Any, ...]],
    metric: str,
    *,
    maximise: bool,
) -> None:
    """Draw the trials with the best so far, and each hyper-parameter against the metric.

    Later trials are darker. Trials much worse than the others stand at the edge, as triangles;
    pruned ones at the metric of their last epoch; failed ones have none, and are crosses there.

    Args:
        path: PNG file to write.
        trials: The finished ones, at least one.
        space: What was searched.
        metric: Its name.
        maximise: Whether a larger metric is better.
    """
    columns = len(space) if len(space) <= 4 else 3
    rows = -(-len(space) // columns)
    figure = Figure(figsize=(10, 3.4 + 2.5 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[3.4, *[2.5] * rows])
    drawing = _Drawing(trials, maximise)
    history = figure.add_subplot(grid[0, :])
    numbers = np.array([trial.number for trial in trials], np.float64)
    history.step(numbers, drawing.best_so_far(), where="post", color=_GOLD, label="best so far")
    drawing.draw(history, numbers)
    history.set_xlabel("trial")
    history.set_xlim(0.4, len(trials) + 0.6)
    history.xaxis.set_major_locator(MaxNLocator(integer=True))
    history.set_title(_title(trials, drawing.best, metric))
    history.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels = [history]
    for index, (name, entry) in enumerate(space.items()):
        row, column = divmod(index, columns)
        axes = figure.add_subplot(grid[1 + row, column], sharey=history)
        drawing.draw(axes, _positions(axes, entry, [trial.values[name] for trial in trials]))
        axes.set_xlabel(name.replace("_", " "))
        axes.tick_params(labelleft=column == 0)
        if column == 0:
            panels.append(axes)
        axes.grid(alpha=0.3)
    for axes in panels:
        axes.set_ylabel(f"validation {metric}")
        axes.grid(alpha=0.3)
    history.set_ylim(*drawing.limits)
    figure.savefig(path, dpi=120)


class _Drawing:
    """Where each trial stands on the metric's axis, and how it looks.

    Attributes:
        best: Index of the best complete trial, or None.
        limits: Of the axis.
    """

    def __init__(self, trials: Sequence[Trial], maximise: bool) -> None:
        sign = 1.0 if maximise else -1.0
        self._trials = trials
        values = np.array([_shown(trial) for trial in trials], np.float64)
        states = np.array([trial.state for trial in trials])
        seen = sign * values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
        top, middle, low = float(seen.max()), float(np.median(seen)), float(seen.min())
        low = max(low, top - _REACH * (top - middle)) if top > middle else low
        margin = 0.1 * (top - low) or 0.1 * abs(top) or 0.1
        ends = (sign * (low - margin), sign * (top + margin))
        self.limits = (min(ends), max(ends))
        self._edge = sign * (low - 0.5 * margin)
        self._down = maximise
        lost = ~np.isfinite(values)
        outside = ~lost & (sign * values < low)
        self._heights = np.where(lost | outside, self._edge, values)
        complete, pruned = states == COMPLETE, states == PRUNED
        self._groups = {
            "complete": complete & ~outside,
            "pruned": pruned & ~outside,
            "much worse": outside,
            "failed": lost,
        }
        scores = np.where(complete & np.isfinite(values), sign * values, -np.inf)
        self.best = int(scores.argmax()) if np.isfinite(scores).any() else None
        self._best_so_far = sign * np.maximum.accumulate(scores)

    def best_so_far(self) -> Array:
        """Return the best metric after each trial, float64 [N]; nan before there is one."""
        return np.where(np.isfinite(self._best_so_far), self._best_so_far, np.nan)

    def draw(self, axes: Axes, positions: Array) -> None:
        """Draw all trials at these places of the other axis, float64 [N]."""
        shades = matplotlib.colormaps["Blues"](np.linspace(0.4, 1.0, len(self._trials)))
        looks: dict[str, dict[str, Any]] = {
            "complete": {"marker": "o"},
            "pruned": {"marker": "o", "facecolors": "none", "edgecolors": _GRAY},
            "much worse": {"marker": "v" if self._down else "^", "color": _GRAY},
            "failed": {"marker": "x", "color": _RED},
        }
        for name, chosen in self._groups.items():
            if chosen.any():
                look = {"s": 30, "zorder": 3, "label": name, **looks[name]}
                if name == "complete":
                    look["color"] = shades[chosen]
                axes.scatter(positions[chosen], self._heights[chosen], **look)
        if self.best is not None:
            at = [self.best]
            ring: dict[str, Any] = {"facecolors": "none", "edgecolors": _GOLD, "linewidths": 2}
            axes.scatter(positions[at], self._heights[at], s=110, zorder=4, label="best", **ring)


def _shown(trial: Trial) -> float:
    if trial.value is not None:
        return trial.value
    return trial.epochs[-1] if trial.state == PRUNED else float("nan")


def _title(trials: Sequence[Trial], best: int | None, metric: str) -> str:
    counts = {state: sum(trial.state == state for trial in trials) for state in (PRUNED, "failed")}
    extra = "".join(f", {count} {state}" for state, count in counts.items() if count)
    found = "" if best is None else f": best {metric} {trials[best].value:.4f} in trial {best + 1}"
    return f"{len(trials)} trials{extra}{found}"


def _positions(axes: Axes, entry: tuple[Any, ...], values: Sequence[Any]) -> Array:
    """Set the axis of a hyper-parameter; returns where its values stand, float64 [N]."""
    kind, *ends = entry
    if kind == "choice":
        axes.set_xticks(range(len(ends)), [str(value) for value in ends])
        axes.set_xlim(-0.5, len(ends) - 0.5)
        return np.array([ends.index(value) for value in values], np.float64)
    low, high = ends
    if kind == "log":
        axes.set_xscale("log")
        # Few, and as people write them: 0.001 rather than ten to the minus three.
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
    else:
        axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    return np.array(values, np.float64)
