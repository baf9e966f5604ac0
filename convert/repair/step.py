"""One step on the path of a repair, for the report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeward.convert.drift.metrics import OutputDrift
from edgeward.convert.worker.job import Attempt

if TYPE_CHECKING:
    from edgeward.convert.measure.measure import Measured

__all__ = ["RepairStep"]

_WORST = ("refused", "inconclusive", "pass")


@dataclass(frozen=True)
class RepairStep:
    """What was tried for an artifact that missed its budget.

    Attributes:
        wanted: Id of that artifact.
        artifact: Id of what was made instead; the same, unless int8 was left.
        how: What was different.
        samples: ``validation``: those that choose; ``test``: those that judge.
        verdict: ``pass``, ``inconclusive``, ``refused``; ``failed`` where it could not be made.
        size: Bytes; None where it could not be made.
        drifts: The worst drift of each output over the runtimes, without decisions.
        reason: Why it could not be made or measured.
        taken: Whether it is in the place of what was wanted.
        in_float: Tensors whose ops stayed float, by their name in the float32 artifact.
    """

    wanted: str
    artifact: str
    how: str
    samples: str
    verdict: str
    size: int | None
    drifts: list[OutputDrift]
    reason: str
    taken: bool = False
    in_float: tuple[str, ...] = ()

    @classmethod
    def failed(cls, wanted: str, attempt: Attempt, samples: str, reason: str) -> RepairStep:
        """Make the step of an attempt that came to nothing."""
        return cls(
            wanted=wanted,
            artifact=attempt.artifact,
            how=attempt.describe(),
            samples=samples,
            verdict="failed",
            size=None,
            drifts=[],
            reason=reason,
            in_float=attempt.settings.float_layers,
        )

    @classmethod
    def of(
        cls, wanted: str, attempt: Attempt, measured: Measured, samples: str, *, taken: bool = False
    ) -> RepairStep:
        """Make the step of an attempt that was measured."""
        # Of the outputs with targets: no attempt can verify one without.
        verdicts = [drift.verdict for drift in measured.worst]
        return cls(
            wanted=wanted,
            artifact=attempt.artifact,
            how=attempt.describe(),
            samples=samples,
            verdict="refused"
            if measured.parting is not None
            else next(verdict for verdict in _WORST if verdict in verdicts),
            size=measured.artifact.size,
            # The confusion matrices of a dozen attempts would fill the report.
            drifts=[replace(drift, decisions=None) for drift in measured.worst],
            reason="" if measured.parting is None else measured.parting.sentence,
            taken=taken,
            in_float=attempt.settings.float_layers,
        )
