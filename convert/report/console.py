"""What a conversion did, as a table on standard output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from edgeward.convert.report.report import ConversionReport

__all__ = ["print_report"]


def print_report(report: ConversionReport) -> None:
    """Print a row for each artifact and runtime, what was not made and why, and the notes."""
    from rich.console import Console
    from rich.table import Table

    from edgeward.convert.report.words import show

    table = Table(title=f"{report.name}, from run {report.run}")
    table.add_column("artifact", no_wrap=True)
    table.add_column("runtime", no_wrap=True)
    for column in ("bytes", "float", "artifact", "drop", "within", "verdict"):
        table.add_column(column, justify="right", no_wrap=True)
    colours = {"pass": "green", "inconclusive": "yellow", "refused": "red"}
    for artifact in report.artifacts:
        for runtime, drifts in artifact.drifts.items():
            for drift in drifts:
                seen = show(drift)
                # Near the float model in each runtime, and yet too far from each other.
                verdict = "refused" if artifact.parting else drift.verdict
                table.add_row(
                    artifact.id,
                    runtime,
                    f"{artifact.size:,}",
                    *(seen.reference, seen.value, seen.drop, seen.within),
                    f"[{colours[verdict]}]{verdict}[/]",
                )
        for runtime, agreements in artifact.agreements.items():
            for agreement in agreements:
                if agreement.output in report.unverified:
                    same = agreement.decisions
                    table.add_row(
                        artifact.id,
                        runtime,
                        f"{artifact.size:,}",
                        *("-", "-", "-" if same is None else f"{100 * same:.2f} % same"),
                        f"SQNR {agreement.sqnr:.1f} dB",
                        "[yellow]unverified[/]",
                    )
        for runtime in artifact.unusable:
            table.add_row(artifact.id, runtime, f"{artifact.size:,}", "-", "-", "-", "-", "no")
    # A pipe has no width of its own; 80 columns would cut the numbers.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    for artifact in report.artifacts:
        if artifact.repaired:
            print(f"repaired: {artifact.id}: {artifact.repaired}")
        if artifact.parting:
            print(f"refused: {artifact.id}: {artifact.reason}")
        if artifact.instead:
            print(f"instead of {artifact.id}, which was {artifact.verdict}: {artifact.instead}")
    if report.parity:
        _print_parity(report, console)
    for name, why in report.not_made.items():
        print(f"not made: {name}: {why}")
    for note in report.notes:
        print(f"note: {note}")


def _print_parity(report: ConversionReport, console: Console) -> None:
    from rich.table import Table

    table = Table(title="parity: raw outputs and decisions against the first row of each artifact")
    table.add_column("artifact", no_wrap=True)
    for column in ("runtime or device", "kernels"):
        table.add_column(column, overflow="fold", max_width=36)
    for column in ("max LSB", "differing", "flips"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report.parity:
        ran = row.max_lsb is not None
        table.add_row(
            row.artifact,
            row.runtime,
            row.kernels,
            str(row.max_lsb) if ran else "does not run",
            f"{100 * row.differing:.2f} %" if ran else "-",
            "-" if row.flips is None else f"{row.flips} of {row.samples}",
        )
    console.print(table)
    for row in report.parity:
        if row.detail:
            print(f"parity: {row.artifact} on {row.runtime}: {row.detail}")
