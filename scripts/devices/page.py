"""The rows as lines of text, and as tables in docs/devices.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.files import write_atomic
from edgeward.runtime.tasks import METRIC
from scripts.devices.damage import Noticed
from scripts.devices.subject import Metrics, Row

__all__ = ["PAGE", "as_text", "damage_as_text", "score", "write_page"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "devices.md"
BEGIN, END = "<!-- table: made by make devices -->", "<!-- end of the table -->"


def as_text(row: Row) -> str:
    """Return one line for a terminal."""
    head = f"{row.bundle:14} {row.artifact.id:20} {row.artifact.size:>9,} B  {row.device:38}"
    if row.passed is None:
        return f"{head} not held: {_one_line(row.reason)}"
    reason = "" if row.passed else f"  {_one_line(row.reason)}"
    measured = [
        f"{row.differing:>6} of {row.values:>6} differ",
        f"{row.lsb} LSB (allowed {row.artifact.max_lsb})",
        f"{row.flips} flips",
        f"{row.samples} samples against {row.compared_with}" if row.samples else row.compared_with,
        *_extras(row),
    ]
    return f"{head} {row.verdict:16} {', '.join(measured)}{reason}"


def damage_as_text(rows: Sequence[Noticed]) -> list[str]:
    """Return one line for each device, and one for each damage that it did not notice."""
    lines = []
    for device in dict.fromkeys(row.device for row in rows):
        here = [row for row in rows if row.device == device]
        lines.append(f"{here[0].bundle:14} damage noticed: {_count(here):>8}  {device}")
        lines += [
            f"    not noticed: {row.damage}, {row.artifact}: {_one_line(row.said)}"
            for row in here
            if not row.passed
        ]
    return lines


def _count(rows: Sequence[Noticed]) -> str:
    return f"{sum(row.passed for row in rows)} of {len(rows)}"


def score(metrics: Metrics) -> str:
    """Return the judged metric of each output in words; empty without any."""
    words = []
    for values in metrics.values():
        name = next(name for name in METRIC.values() if name in values)
        form = {"accuracy": "{:.1%}", "psnr": "{:.1f} dB"}.get(name, f"{name} {{:.4g}}")
        words.append(form.format(values[name]).replace("%", " %"))
    return ", ".join(words)


def _extras(row: Row) -> list[str]:
    time = _time(row.seconds) if row.seconds else ""
    return [word for word in (score(row.metrics), time) if word]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:,.1f} ms"


def write_page(rows: Sequence[Row], damage: Sequence[Noticed], samples: int, missing: str) -> None:
    """Replace what is between the markers in docs/devices.md.

    Args:
        rows: What was run.
        damage: What was damaged.
        samples: Samples asked for.
        missing: What was not proven; empty where all was.

    Raises:
        EdgewardError: The markers are not there.
    """
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise EdgewardError(f"{PAGE.name} has lost its markers.", expected=f"{BEGIN} ... {END}")
    text = f"{before}{BEGIN}\n\n{_tables(rows, damage, samples, missing)}\n{END}{after}"
    write_atomic(PAGE, text.encode())


def _tables(rows: Sequence[Row], damage: Sequence[Noticed], samples: int, missing: str) -> str:
    judged = [row for row in rows if row.passed is not None]
    passed = sum(bool(row.passed) for row in judged)
    about = " ".join(filter(None, (_sizes(rows, samples), missing)))
    lines = [
        f"{passed} of {len(judged)} proofs passed, and {sum(d.passed for d in damage)} of "
        f"{len(damage)} damages were noticed. {about}",
        "",
    ]
    for bundle in dict.fromkeys(row.bundle for row in rows):
        for format_ in ("tflite", "onnx"):
            here = [r for r in rows if r.bundle == bundle and r.artifact.format == format_]
            if here:
                lines += [f"**{bundle}, {format_}**", "", *_matrix(here), ""]
    return "\n".join([*lines, *_damage_matrix(damage), ""] if damage else lines)


def _sizes(rows: Sequence[Row], samples: int) -> str:
    small = {row.bundle: row.given for row in rows if 0 < row.given < samples}
    hurried = [
        f"{row.bundle} {row.artifact.id} on {row.device}: {row.samples}"
        for row in rows
        if 0 < row.samples < row.given
    ]
    words = [f"{name} has {count} in all" for name, count in small.items()]
    words += [f"stopped by `--seconds`: {'; '.join(hurried)}"] if hurried else []
    but = f" ({'; '.join(words)})" if words else ""
    return f"{samples} samples of the test split each{but}."


def _damage_matrix(damage: Sequence[Noticed]) -> list[str]:
    bundles = list(dict.fromkeys(row.bundle for row in damage))
    lines = ["**Damage noticed**", "", f"| device | {' | '.join(bundles)} |"]
    lines.append("|---" * (len(bundles) + 1) + "|")
    for device in dict.fromkeys(row.device for row in damage):
        cells = []
        for bundle in bundles:
            here = [row for row in damage if (row.device, row.bundle) == (device, bundle)]
            cells.append(_count(here) if here else "")
        lines.append(f"| {device} | {' | '.join(cells)} |")
    return lines


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
    return ", ".join([*words, *_extras(row)])
