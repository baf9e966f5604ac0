"""What a conversion is asked for: one field for each keyword of ``convert`` and each option."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgeward.convert.formats import FORMATS
from edgeward.convert.variants import INT8
from edgeward.runtime.errors import UsageError

if TYPE_CHECKING:
    _Function = TypeVar("_Function", bound=Callable[..., object])

__all__ = ["DEFAULT_TIMEOUT", "Options", "explain_options"]

DEFAULT_TIMEOUT = 1800.0


@dataclass(frozen=True)
class Options:
    """What a conversion is asked for.

    Args:
        source: A run folder, a ``.keras`` or ``.h5`` file or a SavedModel folder; None takes the
            latest run below ``runs``.
        variants: Variant ids, see ``convert.variants``; float32 comes along always.
        formats: ``tflite``, ``onnx``.
        everything: Make every variant that model and target allow; ``report.not_made`` says why
            for each one that is not there.
        out: Folder of bundles; the bundle is ``out/<recipe>``.
        runs: Where to look for the latest run.
        max_drop: Largest upper bound of the drop allowed: a fraction of accuracy, an increase of
            the error, or dB below 100; None takes the recipe's.
        target: Runtime that must accept the artifacts, ``NAME==VERSION``, or several; where they
            are installed, the answers of no other count. None is the oldest supported one of each
            format (``convert.targets.target``), and the answers of all that are installed.
        calibration: ``.npz`` of raw samples to calibrate with instead of the run's.
        calibration_samples: How many of them; None takes
            ``convert.samples.calibration.DEFAULT_COUNT``.
        test: For a user's model: ``.npz`` of raw samples and targets; without it the artifacts are
            *unverified* (docs/your-own-model.md).
        validation: For a user's model: the same of the validation split.
        labels: For a user's model: class names, one per line.
        preprocessing: For a user's model: specs of inputs and outputs as JSON.
        shapes: For a user's model: input name -> dimensions after the batch that it leaves open.
        expect: For a user's model: metric -> value that the float model must give.
        allow_inconclusive: Bundle artifacts that too few samples could judge, marked.
        keep_passing: Bundle the artifacts that pass although others were refused.
        repair: Try to mend what misses the budget: another calibration first, and with leave
            ``qat`` and ``fallback``. ``report.repair`` tells the path.
        qat: Fine-tune the weights where calibration does not help.
        fallback: Leave int8 where nothing else helps: the worst layers in float, int16x8, dynamic
            or float16, under their own ids.
        distil: ``.npz`` of raw samples to fine-tune on; None takes the calibration samples.
        with_parity: Compare the bundled artifacts on every runtime and kernel set of this machine;
            ``report.parity`` tells how far they differ.
        reuse: Take over what an earlier conversion made of the same: an unchanged request is
            answered at once, and only artifacts that are new or changed are converted.
        timeout: Seconds that each step may take: loading a user's model, converting, measuring
            each artifact, comparing its layers, each row of parity, the emulated devices.
        memory: Bytes that the converter may take; 0 is no limit, None nine tenths of the machine's,
            or of the container's where that has less.
        progress: Called with one line per step.

    Raises:
        UsageError: A value that makes no sense.
    """

    source: Path | str | None = None
    _: KW_ONLY
    variants: Sequence[str] = (INT8.id,)
    formats: Sequence[str] = tuple(FORMATS)
    out: Path | str = "bundles"
    runs: Path | str = "runs"
    everything: bool = False
    max_drop: float | None = None
    target: str | Sequence[str] | None = None
    calibration: Path | None = None
    calibration_samples: int | None = None
    test: Path | None = None
    validation: Path | None = None
    labels: Path | None = None
    preprocessing: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None
    expect: Mapping[str, float] | None = None
    allow_inconclusive: bool = False
    keep_passing: bool = False
    repair: bool = True
    qat: bool = False
    fallback: bool = False
    distil: Path | None = None
    with_parity: bool = False
    reuse: bool = True
    timeout: float = DEFAULT_TIMEOUT
    memory: int | None = None
    progress: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None and not 0 < self.max_drop < 100:
            raise UsageError(
                "The budget makes no sense.", received=self.max_drop, expected="0 < X < 100"
            )
        if self.calibration_samples is not None and self.calibration_samples < 1:
            raise UsageError(
                "No calibration samples.", received=self.calibration_samples, expected=">= 1"
            )
        if self.distil is not None and not self.qat:
            raise UsageError(
                "Samples to fine-tune on, but no fine-tuning.", received=self.distil, fix="--qat"
            )
        if not 0 < self.timeout < float("inf"):
            raise UsageError(
                "No time to convert in.", received=self.timeout, expected="seconds > 0"
            )

    def tell(self, step: str) -> None:
        """Report a step to ``progress``."""
        if self.progress is not None:
            self.progress(step)


def explain_options(function: _Function) -> _Function:
    """Put what ``Options`` says of its fields where the docstring has ``{options}``."""
    if function.__doc__ and Options.__doc__:  # python -OO has none
        paragraphs = inspect.cleandoc(Options.__doc__).split("\n\n")
        said = next(text for text in paragraphs if text.startswith("Args:"))
        function.__doc__ = inspect.cleandoc(function.__doc__).replace("{options}", said)
    return function
