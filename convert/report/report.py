"""What a conversion did, for people (``report.html``) and for scripts (``report.json``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeward.convert.drift.agreement import Agreement
from edgeward.convert.drift.metrics import OutputDrift, worst_of
from edgeward.convert.layers.report import LayerReport
from edgeward.convert.measure.records import ParityRow, Parting, Reproduction
from edgeward.convert.repair.step import RepairStep
from edgeward.convert.report.words import reason
from edgeward.convert.variants import ArtifactId
from edgeward.convert.worker.conversion import Conversion
from edgeward.runtime.errors import RefusedError
from edgeward.runtime.strict_json import dumps

if TYPE_CHECKING:
    from edgeward.convert.measure.measure import Measured
    from edgeward.convert.repair.repair import Repaired

__all__ = ["ArtifactReport", "ConversionReport", "artifact_reports", "notes_on", "refused"]


@dataclass(frozen=True)
class ArtifactReport:
    """What became of one artifact.

    Attributes:
        id: Artifact id.
        bundled: Whether it is in the bundle.
        verdict: ``pass``, ``unverified``, ``inconclusive`` or ``refused``.
        reason: Why it was refused or is inconclusive; empty for ``pass``.
        size: Bytes.
        size_ratio: Size over the size of its float32 twin; None where that could not be made.
        batch: ``static`` or ``resizable``.
        max_lsb: Largest difference between runtimes and kernels.
        nodes: Size of the graph.
        min_runtime: Runtime -> lowest version.
        drifts: Runtime -> drift of each output that has targets.
        agreements: Runtime -> agreement of each output with the float model.
        unusable: Runtime -> why it cannot run the artifact.
        latency: Runtime -> median microseconds of one invocation on the machine that converted.
        layers: Its tensors against the float model's, worst first; None where not compared.
        repaired: How it was made after the ordinary way missed the budget; empty otherwise.
        instead: Id of the artifact that stands for it because nothing that stays int8 helped.
        parting: Two runtimes that differ too much for any self-test, where it is refused for that.
    """

    id: str
    bundled: bool
    verdict: str
    reason: str
    size: int
    size_ratio: float | None
    batch: str
    max_lsb: int
    nodes: int
    min_runtime: Mapping[str, str]
    drifts: Mapping[str, list[OutputDrift]]
    agreements: Mapping[str, list[Agreement]]
    unusable: Mapping[str, str]
    latency: Mapping[str, float] = field(default_factory=dict)
    layers: LayerReport | None = None
    repaired: str = ""
    instead: str = ""
    parting: Parting | None = None

    @property
    def worst(self) -> list[OutputDrift]:
        """The drift of each output in the runtime in which it is worst; this one is judged."""
        return worst_of(self.drifts)

    @property
    def fastest(self) -> tuple[str, float] | None:
        """The runtime that was fastest, and its microseconds; None where nothing was timed."""
        return min(self.latency.items(), key=lambda item: item[1], default=None)

    @classmethod
    def of(
        cls,
        measured: Measured,
        twin_size: int | None,
        *,
        bundled: bool,
        reason: str,
        repaired: str = "",
        instead: str = "",
    ) -> ArtifactReport:
        """Make the report of a measured artifact."""
        artifact = measured.artifact
        return cls(
            id=artifact.id,
            bundled=bundled,
            verdict=measured.verdict,
            reason=reason,
            size=artifact.size,
            size_ratio=None if twin_size is None else artifact.size / twin_size,
            batch=artifact.batch,
            max_lsb=artifact.max_lsb,
            nodes=measured.nodes,
            min_runtime=artifact.min_runtime,
            drifts=measured.drifts,
            agreements=measured.agreements,
            unusable=measured.unusable,
            latency=measured.latency,
            layers=measured.layers,
            repaired=repaired,
            instead=instead,
            parting=measured.parting,
        )


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did.

    Attributes:
        name: Name of the bundle.
        run: Run id.
        bundle: Folder of the bundle; None when nothing was bundled.
        release: Release of the bundle; None when nothing was bundled.
        budget: Drift allowed.
        targets: Format -> the runtimes that accept its artifacts, with commas between.
        reproductions: Output name -> reproduction of the run's metric.
        calibration: Number and origin of the calibration samples, and what looks wrong with them.
        artifacts: What became of each artifact.
        not_made: Artifact id -> why it could not be made.
        created_with: Package -> version.
        seconds: Wall time of the conversion.
        labels: Output name -> class names.
        notes: What the user should know: an artifact replaced by another, and why.
        repair: What was tried for artifacts that missed their budget, in order.
        parity: Bundled artifacts on every runtime and kernel set, where that was asked for.
        reused: Ids of the artifacts that an earlier conversion made.
    """

    name: str
    run: str
    bundle: Path | None
    release: int | None
    budget: float
    targets: Mapping[str, str]
    reproductions: Mapping[str, Reproduction]
    calibration: Mapping[str, Any]
    artifacts: list[ArtifactReport]
    not_made: Mapping[str, str]
    created_with: Mapping[str, str]
    seconds: float
    labels: Mapping[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    repair: list[RepairStep] = field(default_factory=list)
    parity: list[ParityRow] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[ArtifactReport]:
        """The artifacts that are not in the bundle, and that no other stands for."""
        return [a for a in self.artifacts if not a.bundled and not a.instead]

    @property
    def unverified(self) -> list[str]:
        """Names of the outputs that have no targets."""
        named = {
            a.output
            for artifact in self.artifacts
            for agreements in artifact.agreements.values()
            for a in agreements
        }
        judged = {
            d.output
            for artifact in self.artifacts
            for drifts in artifact.drifts.values()
            for d in drifts
        }
        return sorted(named - judged)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of ``report.json``."""
        value = asdict(self)
        value["bundle"] = None if self.bundle is None else self.bundle.name
        return value

    def to_bytes(self) -> bytes:
        """Return the text of ``report.json``."""
        return dumps(self.to_json())

    def to_markdown(self) -> str:
        """Return a report for a pull request, as GitHub renders it."""
        from edgeward.convert.report.markdown import to_markdown

        return to_markdown(self)

    def to_html(self) -> bytes:
        """Return ``report.html``: one file, no script, no link to anywhere."""
        from edgeward.convert.report.html import to_html

        return to_html(self)


def artifact_reports(
    measured: Sequence[Measured], bundled: Sequence[Measured], doubts: list[str], mended: Repaired
) -> list[ArtifactReport]:
    """Return what became of each artifact.

    Args:
        measured: All artifacts.
        bundled: Those that are in the bundle.
        doubts: What looks wrong with the calibration samples.
        mended: What became of those that missed their budget.
    """
    sizes = {m.artifact.id: m.artifact.size for m in measured}
    return [
        ArtifactReport.of(
            m,
            sizes.get(str(ArtifactId.parse(m.artifact.id).twin)),
            bundled=m in bundled,
            reason=reason(m, doubts),
            repaired=mended.settings.get(m.artifact.id, ""),
            instead=mended.instead.get(m.artifact.id, ""),
        )
        for m in measured
    ]


def notes_on(
    conversion: Conversion, measured: Sequence[Measured], doubts: Sequence[str]
) -> list[str]:
    """Return what the user should know about what was made and measured."""
    unusable = [
        f"{m.artifact.id} does not run on {name}: {why.splitlines()[0]}"
        for m in measured
        for name, why in m.unusable.items()
    ]
    tolerances = [note for m in measured for note in m.notes]
    return [
        *conversion.notes,
        *unusable,
        *tolerances,
        *(f"suspicious: {doubt}" for doubt in doubts),
    ]


def refused(
    report: ConversionReport, where: Path, *, allow_inconclusive: bool = False
) -> RefusedError:
    """Make the error of a conversion whose report holds artifacts that were not bundled.

    Args:
        report: The report.
        where: The file that holds it.
        allow_inconclusive: Whether inconclusive artifacts were accepted: where nothing is bundled
            because of another one, they are not to blame.
    """
    failed = [
        a
        for a in report.artifacts
        if not a.instead
        and (a.verdict == "refused" or (a.verdict == "inconclusive" and not allow_inconclusive))
    ]
    words = {a.verdict for a in failed}
    lost = [a.layers.culprit for a in failed if a.layers is not None]
    tunable = not lost or any(one is None or one.tunable for one in lost)
    bound = "an upper bound of the drop within the budget"
    fix = (
        "look at the report; calibrate on real training samples; "
        f"{'--qat fine-tunes, ' if tunable else ''}--fallback leaves int8; raise --max-drop if you "
        "can afford the loss"
        if "refused" in words
        else "give more test samples, or --allow-inconclusive to bundle it marked"
    )
    if failed and all(a.parting for a in failed):
        bound = "runtimes that differ by so little that the self-test still notices damage"
        fix = "--target NAME==VERSION bundles for one of the two alone; or replace that layer"
    error = RefusedError(
        f"{', '.join(a.id for a in failed)}: {' and '.join(sorted(words))}.",
        received="\n    ".join(f"{a.id}: {a.reason}" for a in failed),
        expected=bound,
        fix=f"{fix}. Report: {where}"
        + ("" if report.bundle else "; the previous bundle, if any, was not touched"),
    )
    error.report = report
    return error
