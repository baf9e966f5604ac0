"""What looks wrong with one input's calibration samples, beside its test samples.

Only the statistics of the model tensors are compared, so a suspicion is a hint at the cause of a
drift that was measured, and never a verdict. Of all that could be said the most specific is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment

from edgeward.convert.samples.leakage import find_leakage
from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.runtime.samples import Samples

__all__ = ["suspect_channels", "suspect_classes", "suspect_input", "suspicions"]

# Test inputs that leave the calibrated range by more than this part of it are told.
BEYOND = 0.05

# Scales that are confused: 0..1, 0..255 and per cent.
SCALES = (255.0, 100.0)

# More columns than this are no channels or features that somebody shuffled.
MOST_CHANNELS = 64

# Means that differ so many times more than chance, as variances, are no chance.
NO_CHANCE = 6.0

# A shift of the mean by this part of the variance: one class of ten MNIST digits is 0.11 to 0.38
# away from all of them, the honest splits of every recipe at most 0.04.
SHIFTED = 0.08

# Unless they vary less too, as samples of one kind do: later years of a series are shifted as well.
FAR_SHIFTED = 0.5

NARROW = 0.95

# Fewer samples than this leave the range of an activation to chance.
FEW = 20

# Statistics of the test samples need no more numbers than these.
_ENOUGH = 1000

_ENOUGH_NUMBERS = 5 * 10**7


def suspect_input(name: str, calibrated: Array, tested: Array, *, only_range: bool = False) -> str:
    """Return what looks wrong with the calibration samples of an input; empty for nothing.

    Args:
        name: Name of the input.
        calibrated: Its calibration samples after preprocessing, ``[N, ...]``.
        tested: Its test samples after preprocessing, ``[M, ...]``.
        only_range: Whether it is known already that they are another selection, whose means say
            nothing.
    """
    doubt = _endless(name, calibrated, tested) or _range(name, calibrated, tested)
    if doubt or only_range:
        return doubt
    return _layout(name, calibrated, tested) or _mean(name, calibrated, tested)


def suspect_channels(name: str, calibrated: Array, tested: Array) -> str:
    """Return whether the channels or columns stand in another order; empty if not.

    Args:
        name: Name of the input.
        calibrated: Its calibration samples, ``[N, ..., C]``: raw ones, because preprocessing may
            scale each channel by another number.
        tested: Its test samples, ``[M, ..., C]``.
    """
    count = calibrated.shape[-1]
    if calibrated.ndim < 2 or tested.shape[-1] != count or not 2 <= count <= MOST_CHANNELS:
        return ""
    means, test_means = _per_channel(calibrated), _per_channel(tested)
    chance = test_means.var(axis=0) * (1 / len(means) + 1 / len(test_means))
    # As Python's numbers: the difference of two float32 may be beyond float32.
    chance += 1e-12 + 1e-8 * (float(tested.max()) - float(tested.min())) ** 2
    seen, expected = means.mean(axis=0), test_means.mean(axis=0)
    costs = (expected[:, None] - seen) ** 2 / chance[:, None]
    _, order = linear_sum_assignment(costs)
    here, there = np.trace(costs), costs[np.arange(count), order].sum()
    fits = there < 0.1 * here
    if (order == np.arange(count)).all() or here < NO_CHANCE * count or not fits:
        return ""
    moved = ", ".join(f"{int(j)} -> {i}" for i, j in enumerate(order) if i != j)
    what = "channels" if calibrated.ndim > 2 else "columns"
    return (
        f"the {what} of input {name!r} seem to stand in another order in the calibration samples "
        f"than in the test samples ({moved} would fit their means)"
        + (": RGB for BGR? Give them" if count == 3 and calibrated.ndim == 4 else ": give them")
        + " in the order that the model was trained with"
    )


def suspect_classes(output: str, calibrated: Array, tested: Array) -> str:
    """Return what looks wrong with the classes of the calibration samples; empty for nothing.

    Args:
        output: Name of a classification or binary output.
        calibrated: Its targets on the calibration samples.
        tested: Its targets on the test samples.
    """
    if calibrated.dtype.kind not in "iu":
        return ""  # no class indices; nothing reads the targets of calibration samples
    mine, all_ = np.unique(calibrated), np.unique(tested)
    # By chance a class is missing only where there are few samples for each.
    if len(mine) > len(all_) / 2 or len(calibrated) < 5 * len(all_):
        return ""
    shown = ", ".join(str(index) for index in mine)
    return (
        f"the calibration samples are of class {shown} of {output!r} only, the test samples of "
        f"{len(all_)} classes: draw them from all classes"
    )


def _endless(name: str, calibrated: Array, tested: Array) -> str:
    """Tell samples that preprocessing makes too large for float32."""
    where = [
        split
        for split, values in (("calibration", calibrated), ("test", tested))
        if not np.isfinite(values).all()
    ]
    if not where:
        return ""
    return (
        f"preprocessing makes values of input {name!r} too large for float32 in the "
        f"{' and '.join(where)} samples: give them in the unit that the model was trained with"
    )


def _range(name: str, calibrated: Array, tested: Array) -> str:
    low, high = float(calibrated.min()), float(calibrated.max())
    test_low, test_high = float(tested.min()), float(tested.max())
    span, test_span = high - low, test_high - test_low
    if span < 0.5 * test_span or span > 2 * test_span:
        return (
            f"input {name!r} ranges over {low:.4g}..{high:.4g} in the calibration samples but "
            f"over {test_low:.4g}..{test_high:.4g} in the test samples{_scale(span, test_span)}"
        )
    if test_low < low - BEYOND * span or test_high > high + BEYOND * span:
        return (
            f"the test samples of input {name!r} reach {test_low:.4g}..{test_high:.4g}, beyond "
            f"the {low:.4g}..{high:.4g} of the calibration samples: integers clip there; give "
            "calibration samples that reach as far as what the device will see"
        )
    return ""


def _scale(span: float, test_span: float) -> str:
    if test_span == 0:
        return ": it is the same in all of them, so they do not show what becomes of other values"
    if span == 0:
        return ", as if nothing had been loaded: they must be real samples of the training split"
    for scale in SCALES:
        # Integers of few levels lose up to a third of the range to rounding.
        if 0.9 < span / test_span / scale < 1.1:
            return (
                f", {scale:.0f} times as far: were they left out of a division by {scale:.0f}? "
                "Give both in the same unit"
            )
        if 0.65 < test_span / span / scale < 1.5:
            return (
                f", about 1/{scale:.0f} as far: were they divided by {scale:.0f} once more? Give "
                "both in the same unit"
            )
    return ": give calibration samples of the training split in the unit of the test samples"


def _per_channel(values: Array) -> Array:
    """Return the mean of each channel of each sample, ``[N, C]``."""
    if values.ndim == 2:
        return values.astype(np.float64)
    each = values.mean(axis=tuple(range(1, values.ndim - 1)), dtype=np.float64)
    # Bright and dark samples differ more than channels do.
    return np.asarray(each - each.mean(axis=1, keepdims=True))


def _layout(name: str, calibrated: Array, tested: Array) -> str:
    """Tell images that are transposed, mirrored or turned."""
    if calibrated.ndim not in (3, 4) or min(calibrated.shape[1:3]) < 3:
        return ""
    shift, chance, _ = _shift(calibrated, tested)
    if shift < SHIFTED / 4 or shift < NO_CHANCE * chance:
        return ""
    seen = calibrated.mean(axis=0, dtype=np.float64)
    expected = tested.mean(axis=0, dtype=np.float64)
    candidates = {"upside down": seen[::-1], "mirrored": seen[:, ::-1]}
    if seen.shape[0] == seen.shape[1]:
        turned = seen.swapaxes(0, 1)
        candidates |= {
            "transposed (height and width exchanged)": turned,
            "turned by 90 degrees": turned[::-1],
            "turned by -90 degrees": turned[:, ::-1],
        }
    distance = {what: float(((map_ - expected) ** 2).sum()) for what, map_ in candidates.items()}
    what = min(distance, key=lambda key: distance[key])
    if distance[what] > 0.3 * float(((seen - expected) ** 2).sum()):
        return ""
    return (
        f"the calibration samples of input {name!r} seem to be {what}: their mean differs from "
        "that of the test samples, and does not when that is undone; load both in the same way"
    )


def _mean(name: str, calibrated: Array, tested: Array) -> str:
    """Tell samples that are another selection than the test samples, as of one class only."""
    shift, chance, spread = _shift(calibrated, tested)
    least = SHIFTED if spread < NARROW else FAR_SHIFTED
    if shift < max(least, NO_CHANCE * chance):
        return ""
    return (
        f"the calibration samples of input {name!r} are no random selection: their mean is "
        f"{100 * shift**0.5:.0f} % of a standard deviation away from that of the test samples, and "
        f"they vary {100 * spread:.0f} % as much; of one class only, or of another layout? Draw "
        "them at random from the training split"
    )


def _shift(calibrated: Array, tested: Array) -> tuple[float, float, float]:
    """Return the squared distance of the means, what chance gives, and the spread.

    All are parts of the variance of the test samples, added up over the elements.
    """
    seen = calibrated.mean(axis=0, dtype=np.float64)
    expected = tested.mean(axis=0, dtype=np.float64)
    variance = float(tested.var(axis=0, dtype=np.float64).sum())
    if variance == 0:
        return 0.0, 0.0, 1.0
    distance = float(((seen - expected) ** 2).sum())
    spread = float(calibrated.var(axis=0, dtype=np.float64).sum())
    return distance / variance, 1 / len(calibrated) + 1 / len(tested), spread / variance


def suspicions(source: Source, chosen: Samples, notes: list[str]) -> list[str]:
    """Return what looks wrong with the calibration samples, for the message of a refusal.

    Compares them with the test samples after preprocessing; decides nothing: the drift gate does.

    Args:
        source: The data and specs.
        chosen: The calibration samples.
        notes: Gets why they could not be compared, where they could not.
    """
    doubts: list[str] = []
    try:
        for doubt in _doubts(source, chosen):
            doubts.append(doubt)
    except Exception as error:  # a hint must not cost what was measured, whatever it dies of
        why = " ".join(f"{type(error).__name__}: {error}".split())
        notes.append(f"calibration not compared: {why.rstrip(':')}")
    return doubts


def _doubts(source: Source, chosen: Samples) -> Iterator[str]:
    """Yield what looks wrong, one after the other."""
    leakage = find_leakage(source)
    if leakage.indices:
        yield from leakage.notes
    if len(chosen) < FEW:
        yield (
            f"there are only {len(chosen)} calibration samples: a few hundred show the range of "
            "every activation"
        )
    test = source.test.take(_spread(len(source.test), _ENOUGH))
    classes = [
        suspect_classes(name, chosen.targets[name], source.test.targets[name])
        for name, spec in source.outputs.items()
        if spec.task in ("classification", "binary")
        and name in chosen.targets
        and name in source.test.targets
    ]
    yield from filter(None, classes)
    for name, spec in source.inputs.items():
        column = chosen.inputs[name]
        if len(chosen) > 1 and _all_equal(column):
            yield f"all {len(chosen)} calibration samples of input {name!r} are the same"
        order = _channels(name, column, test.inputs[name])
        if order:
            yield order
            continue
        calibrated = preprocess_batch(spec, column, source.vocabularies)
        size = max(1, calibrated[0].size)
        few = test.take(_spread(len(test), max(FEW, _ENOUGH_NUMBERS // size)))
        tested = preprocess_batch(spec, few.inputs[name], source.vocabularies)
        # Ids of tokens are no quantities. Images of one image in another size cannot be compared.
        if calibrated.dtype.kind != "i" and calibrated.shape[1:] == tested.shape[1:]:
            doubt = suspect_input(name, calibrated, tested, only_range=any(classes))
            if doubt:
                yield doubt


def _channels(name: str, column: Column, tested: Column) -> str:
    if not isinstance(column, np.ndarray) or not isinstance(tested, np.ndarray):
        return ""
    # Ids of tokens are no quantities.
    return "" if column.dtype.kind == "i" else suspect_channels(name, column, tested)


def _spread(count: int, most: int) -> Array:
    """Return up to ``most`` indices all over the samples, which may be sorted by class."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _all_equal(column: Column) -> bool:
    return all(np.array_equal(column[0], other) for other in column[1:])
