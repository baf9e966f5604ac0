"""The path first: the float model must give the metric that training noted.

Compared with each other, float model and artifact are both wrong in the same way when the
preprocessing, the labels or the layout are: a drift of zero. So the float model is compared with
what training saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from edgeward.convert.measure.records import Reproduction
from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidModelError, ReproductionError
from edgeward.runtime.preprocessing import postprocess
from edgeward.runtime.specs import OutputSpec
from edgeward.runtime.tasks import METRIC, check_targets, decide, evaluate

if TYPE_CHECKING:
    pass

__all__ = ["float_values", "reproduce"]

# Renaming the classes explains a metric that is missed when it leaves no more than this open.
_RENAMED = 0.01

_SHOWN = 4

# The float model on another machine or TensorFlow version: far above what rounding costs (more
# than 100 dB seen), far below what a wrong preprocessing gives (less than 30 dB).
SAME_PSNR = 60.0


def float_values(path: Path, source: Source) -> dict[str, Floats]:
    """Read the float model's outputs on the test split and postprocess them.

    Raises:
        InvalidModelError: An output is not finite.
    """
    with np.load(path, allow_pickle=False) as outputs:
        values = {
            name: postprocess(spec.postprocessing, outputs[name])
            for name, spec in source.outputs.items()
        }
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise InvalidModelError(f"The float model's output {name!r} is not finite.")
    return values


def reproduce(source: Source, values: Mapping[str, Floats]) -> dict[str, Reproduction]:
    """Check that the float model gives the metric that is known of it on the test split.

    Args:
        source: The data, and the metrics of the run or that the user expects.
        values: Output name -> the float model's values on the test split.

    Returns:
        Output name -> what was expected and measured; nothing is expected of a user's model
        without ``--expect``. Outputs without targets are left out.

    Raises:
        ReproductionError: It does not, or a run has no metric to reproduce.
    """
    reproductions: dict[str, Reproduction] = {}
    for name, spec in source.outputs.items():
        metric = METRIC[spec.task]
        expected = source.expected.get(f"{name}.{metric}", source.expected.get(metric))
        known = expected is not None and name in source.test.targets
        if not known and not source.user:
            raise ReproductionError(
                f"There is nothing to reproduce for output {name!r}.",
                received=f"{sorted(source.expected)}, targets {sorted(source.test.targets)}",
                expected=f"{metric} of the test split in run.json, and out/{name} in test.npz",
            )
        if name not in source.test.targets:
            continue
        measured = evaluate(spec, values[name], source.test.targets[name])[metric]
        samples = len(source.test)
        if expected is not None and not _same(metric, expected, measured, samples):
            raise ReproductionError(
                f"The float model, fed through the bundle's preprocessing, does not give the "
                f"{metric} that {'you expect' if source.user else 'training noted'} for output "
                f"{name!r}.",
                received=f"{measured:.4f} on {samples} test samples"
                + _renamed(spec, values[name], source.test.targets[name], expected),
                expected=f"{expected:.4f}, within {_TOLERANCE[metric]}",
                fix=_FIX_USER if source.user else _FIX_RUN,
            )
        reproductions[name] = Reproduction(metric, expected, measured, samples)
    return reproductions


_FIX_RUN = (
    "preprocessing, labels or model of the run were changed after training: check inputs and "
    "preprocessing in run.json and the targets in test.npz, or train again"
)


_FIX_USER = (
    "the steps in the --preprocessing file, the order of the classes in out/NAME, or the test "
    "samples are not those that you measured with; give --expect enough digits"
)


_TOLERANCE = {"accuracy": "one sample", "rmse": "0.01 %", "psnr": f"{SAME_PSNR:.0f} dB or more"}


def _renamed(spec: OutputSpec, values: Floats, targets: Array, expected: float) -> str:
    """Tell classes that stand for others than in training; empty where that is not the cause."""
    if METRIC[spec.task] != "accuracy":
        return ""
    classes = 2 if spec.task == "binary" else values.reshape(len(values), -1).shape[1]
    truth = check_targets(spec, targets, classes)
    pairs = np.bincount(truth * classes + decide(spec, values), minlength=classes * classes)
    table = pairs.reshape(classes, classes)
    _, order = linear_sum_assignment(-table)
    reached = table[np.arange(classes), order].sum() / len(truth)
    moved = [f"{i} -> {j}" for i, j in enumerate(order) if i != j and table[i].any()]
    if not moved or reached < expected - _RENAMED:
        return ""
    shown = ", ".join(moved[:_SHOWN]) + (", ..." if len(moved) > _SHOWN else "")
    return f"; {reached:.4f} if the targets meant other classes ({shown})"


def _same(metric: str, expected: float, measured: float, samples: int) -> bool:
    if metric == "accuracy":
        # Half a sample more, against rounding in the two divisions.
        return abs(measured - expected) <= 1.5 / samples
    if metric == "psnr":
        return measured >= min(expected, SAME_PSNR)
    return abs(measured - expected) <= 1e-4 * abs(expected)
