"""Repair within a conversion: its samples, its worker, and what it changes in the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from convert.attempt import Plan
from convert.calibration import choose_calibration
from convert.choice import repairable
from convert.conversion import Conversion, convert_all
from convert.holdout import hold_out
from convert.job import CALIBRATION, Switches
from convert.measure import Measured
from convert.measuring import Bench
from convert.repair import Allowed, Repaired, repair
from convert.source import Source
from convert.trials import Workshop
from convert.unlabelled import open_unlabelled
from runtime.samples import save_samples

__all__ = ["mend"]

# Calibration samples, beyond which ranges hardly change and every attempt takes longer.
_MOST = 5_000


def mend(
    failing: Sequence[Measured],
    measured: Sequence[Measured],
    bench: Bench,
    source: Source,
    allowed: Allowed,
    *,
    used: int,
    switches: Switches,
    timeout: float,
    memory: int,
    progress: Callable[[str], None],
) -> Repaired:
    """Repair what missed its budget.

    Args:
        failing: The artifacts that may not be bundled as they are.
        measured: All artifacts.
        bench: What they were measured with.
        source: The model and its data.
        allowed: What may be tried.
        used: Calibration samples that they were made with.
        switches: What the target needs of the converter.
        timeout: Seconds that each rung of the repair may convert.
        memory: Bytes that the converter may take; 0 is no limit.
        progress: Called with one line per step.

    Returns:
        What was tried; nothing where there was nothing to repair.

    Raises:
        InvalidDataError: The samples to fine-tune on cannot be used.
    """
    if not any(repairable(m, fallback=allowed.fallback) for m in failing):
        return Repaired()
    holdout = hold_out(bench.source, bench.values, bench.folder)
    if holdout is None:
        return Repaired(
            notes=[
                "nothing was repaired: there are too few test samples to choose by some and "
                "judge by others; --validation FILE gives others"
            ]
        )
    notes: list[str] = []
    if allowed.distil is not None:
        unlabelled, notes = open_unlabelled(allowed.distil, source)
        allowed = replace(allowed, distil=bench.folder / "distil.npz")
        save_samples(bench.folder / "distil.npz", unlabelled)
    every = choose_calibration(source, max(used, _MOST))

    def make(folder: Path, plan: Plan) -> Conversion:
        save_samples(folder / CALIBRATION, every)
        plan.write(folder)
        return convert_all(
            *(folder, holdout.chooser, [attempt.name for attempt in plan.attempts]),
            tolerant=True,
            switches=switches,
            timeout=timeout,
            memory=memory,
            progress=lambda text: progress(f"repair: {text}"),
            module="convert.repair_worker",
        )

    shop = Workshop(bench, holdout, make, used, len(every), progress)
    mended = repair(failing, measured, shop, allowed)
    mended.notes += notes
    return mended
