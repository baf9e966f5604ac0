"""The order of a conversion: answer from before, or open, make, judge, write."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgeward.convert.bundle.fingerprint import Request
from edgeward.convert.bundle.reuse import Shelf, open_shelves, recall
from edgeward.convert.formats import FORMATS
from edgeward.convert.options import DEFAULT_TIMEOUT, Options, explain_options
from edgeward.convert.report.report import ConversionReport
from edgeward.convert.source.files import Hashes
from edgeward.convert.variants import INT8
from edgeward.runtime.errors import MissingExtraError
from edgeward.runtime.system import require_posix

__all__ = ["convert", "convert_as"]


@explain_options
def convert(
    source: Path | str | None = None,
    *,
    variants: Sequence[str] = (INT8.id,),
    formats: Sequence[str] = tuple(FORMATS),
    out: Path | str = "bundles",
    runs: Path | str = "runs",
    everything: bool = False,
    max_drop: float | None = None,
    target: str | Sequence[str] | None = None,
    calibration: Path | None = None,
    calibration_samples: int | None = None,
    test: Path | None = None,
    validation: Path | None = None,
    labels: Path | None = None,
    preprocessing: Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    expect: Mapping[str, float] | None = None,
    allow_inconclusive: bool = False,
    keep_passing: bool = False,
    repair: bool = True,
    qat: bool = False,
    fallback: bool = False,
    distil: Path | None = None,
    with_parity: bool = False,
    reuse: bool = True,
    timeout: float = DEFAULT_TIMEOUT,
    memory: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> ConversionReport:
    """Convert a model, measure each artifact against the float model and write a bundle.

    Each argument is the field of that name of ``convert.options.Options``, and is explained there;
    ``help(convert)`` shows it here:

    {options}

    Returns:
        The report of the bundle written.

    Raises:
        RefusedError: An artifact drifted too far or could not be judged; ``.report`` tells. The
            previous bundle stays as it was, except under ``keep_passing``.
        InvalidInputError: Run, model or data are invalid, or the float model does not reproduce
            the run's metric.
        TargetError: A format or the target cannot hold the model, or the converter crashed or ran
            out of time; under ``everything`` only where nothing at all could be made.
        UsageError: Options that make no sense, or not together.

    >>> from edgeward.convert import convert                                      # doctest: +SKIP
    >>> report = convert("runs/mnist_cnn/001", max_drop=0.002)           # doctest: +SKIP
    >>> [(a.id, a.verdict) for a in report.artifacts]                    # doctest: +SKIP
    [('tflite-fp32', 'pass'), ('tflite-int8', 'pass'), ('onnx-fp32', 'pass'), ('onnx-int8', 'pass')]
    """
    return convert_as(
        Options(
            source,
            variants=variants,
            formats=formats,
            out=out,
            runs=runs,
            everything=everything,
            max_drop=max_drop,
            target=target,
            calibration=calibration,
            calibration_samples=calibration_samples,
            test=test,
            validation=validation,
            labels=labels,
            preprocessing=preprocessing,
            shapes=shapes,
            expect=expect,
            allow_inconclusive=allow_inconclusive,
            keep_passing=keep_passing,
            repair=repair,
            qat=qat,
            fallback=fallback,
            distil=distil,
            with_parity=with_parity,
            reuse=reuse,
            timeout=timeout,
            memory=memory,
            progress=progress,
        )
    )


def convert_as(options: Options) -> ConversionReport:
    """Convert as the options say; returns and raises what ``convert`` does.

    Args:
        options: What is asked for.
    """
    require_posix("convert")
    started = time.monotonic()
    hashes = Hashes()
    request = Request.of(options, hashes) if options.reuse else None
    shelves: list[Shelf] = []
    damage: list[str] = []
    if request is not None:
        path = Path(options.out) / request.name
        shelves, damage = open_shelves(path)
        known = recall(path, request.key, shelves, allow_inconclusive=options.allow_inconclusive)
        if known is not None:
            return known
    # Only now what takes seconds to import: a request that was answered before needs none of it.
    try:
        from edgeward.convert import stages
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name}, which converting needs,", "convert") from None
    task = stages.open_task(options, hashes, damage)
    with tempfile.TemporaryDirectory(prefix="edgeward-") as folder:
        made = stages.make(options, task, shelves, Path(folder))
        judged = stages.judge(options, task, made)
    return stages.write(
        options, task, made, judged, request="" if request is None else request.key, started=started
    )
