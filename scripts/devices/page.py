"""The rows as lines of text, and as tables in docs/devices.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime.errors import EdgewardError
from runtime.files import write_atomic
from scripts.devices.proof import Row

__all__ = ["PAGE", "as_text", "write_page"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "devices.md"
BEGIN, END = "<!-- table: made by make devices -->", "<!-- end of the table -->"


def as_text(row: Row) -> str:
    """Return one line for a terminal."""
    head = f"{row.bundle:14} {row.artifact.id:20} {row.artifact.size:>9,} B  {row.device:38}"
    if row.passed is None:
        return f"{head} not held: {_one_line(row.reason)}"
    reason = "" if row.passed else f"  {_one_line(row.reason)}"
    return (
        f"{head} {row.verdict:16} {row.differing:>6} of {row.values:>6} differ, "
        f"{row.lsb} LSB (allowed {row.artifact.max_lsb}), {row.flips} flips, "
        f"{_time(row.seconds)}{reason}"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:,.1f} ms"


def write_page(rows: Sequence[Row], samples: int) -> None:
    """Replace what is between the markers in docs/devices.md.

    Raises:
        EdgewardError: The markers are not there.
    """
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise EdgewardError(f"{PAGE.name} has lost its markers.", expected=f"{BEGIN} ... {END}")
    text = f"{before}{BEGIN}\n\n{_tables(rows, samples)}\n{END}{after}"
    write_atomic(PAGE, text.encode())


def _tables(rows: Sequence[Row], samples: int) -> str:
    judged = [row for row in rows if row.passed is not None]
    passed = sum(bool(row.passed) for row in judged)
    lines = [
        f"{passed} of {len(judged)} proofs passed, {samples} samples of the test split each, fewer "
        "where a device took longer than 10 seconds for them.",
        "",
    ]
    for bundle in dict.fromkeys(row.bundle for row in rows):
        for format_ in ("tflite", "onnx"):
            here = [r for r in rows if r.bundle == bundle and r.artifact.format == format_]
            if here:
                lines += [f"**{bundle}, {format_}**", "", *_matrix(here), ""]
    return "\n".join(lines)


def _matrix(rows: Sequence[Row]) -> list[str]:
    artifacts = {row.artifact.id: row.artifact for row in rows}
    cells = {(row.device, row.artifact.id): _cell(row) for row in rows}
    heads = [f"{i.partition('-')[2]} ({a.size:,} B)" for i, a in artifacts.items()]
    lines = [f"| device | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for device in dict.fromkeys(row.device for row in rows):
        line = " | ".join(cells.get((device, id_), "") for id_ in artifacts)
        lines.append(f"| {device} | {line} |")
    return lines


def _cell(row: Row) -> str:
    if row.passed is None:
        return "not held"
    words = ["exact"] if row.verdict == "exact" else [f"{row.lsb} LSB"]
    if row.verdict == "wrong":
        words = [f"**wrong**: {row.reason}"]
    if row.flips:
        words.append(f"{row.flips} flips")
    return ", ".join([*words, _time(row.seconds)])
