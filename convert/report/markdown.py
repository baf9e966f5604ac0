"""A conversion for a pull request: Markdown as GitHub renders it, in comments and job summaries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeward.convert.report.words import Shown, show, show_time
from edgeward.runtime.errors import EdgewardError

if TYPE_CHECKING:
    from edgeward.convert.measure.records import ParityRow
    from edgeward.convert.repair.step import RepairStep
    from edgeward.convert.report.report import ArtifactReport, ConversionReport

__all__ = ["error_to_markdown", "escape", "to_markdown"]

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]|~$])")

# What GitHub makes a link of, and tells the person that is named.
_REFERENCE = re.compile(r"([@#])(?=\w)|(?<=\w)(:)(?=//)|(?<=\bwww)(\.)")

_COLUMNS = (
    ("artifact", "---"),
    ("verdict", "---"),
    *((name, "--:") for name in ("bytes", "of float32", "float → artifact")),
    *((name, "--:") for name in ("drop", "within", "budget", "latency here")),
    ("minimum runtime", "---"),
)

_PARITY_COLUMNS = (
    *((name, "---") for name in ("artifact", "runtime or device", "kernels")),
    *((name, "--:") for name in ("samples", "largest LSB", "differing", "flips")),
    ("detail", "---"),
)


def to_markdown(report: ConversionReport) -> str:
    """Return what a conversion did, for a pull request.

    Args:
        report: Of a conversion that was done or refused.

    Returns:
        One table of the artifacts, why what is missing is missing, how repair went, and the parity
        matrix where there is one; ends with a new line.
    """
    parts = [
        f"### edgeward: {escape(report.name)}: {_outcome(report)}",
        _origin(report),
        _table(_COLUMNS, [row for one in report.artifacts for row in _rows(one, report)]),
        "_Within_ is the one-sided 95 % upper bound of the drop; it has to stay within the budget. "
        "Each artifact is shown in the runtime in which it is worst; _latency here_ is one sample "
        "in the fastest, on the machine that converted.",
        _reasons(report),
        _section("Repair", _outcomes(report)),
        _section("Steps of the repair", [_step(step) for step in report.repair], folded=True),
        _parity(report),
        _section("Not made", [f"`{name}`: {escape(why)}" for name, why in report.not_made.items()]),
        _section("Notes", [escape(note) for note in report.notes], folded=True),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def error_to_markdown(error: EdgewardError) -> str:
    """Return an error that left no report: invalid data, a model that the format cannot hold."""
    lines = [f"### edgeward: nothing was converted\n\n{escape(error.message)}\n"]
    for name, value in (
        ("received", error.received),
        ("expected", error.expected),
        ("how to fix", error.fix),
    ):
        if value is not None:
            lines.append(f"- {name}: {escape(str(value))}")
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text that renders as it stands: on one line, no markup, no link, no mention.

    >>> escape("layer a|b of @someone")
    'layer a\\\\|b of @<!-- -->someone'
    """
    text = " ".join(text.split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _REFERENCE.sub(r"\g<0><!-- -->", _PUNCTUATION.sub(r"\\\1", text))


def _outcome(report: ConversionReport) -> str:
    # Under --allow-inconclusive what is inconclusive may be missing only because of another one.
    failed = [one for one in report.failed if one.reason]
    refused = [one for one in failed if one.verdict == "refused"] or failed
    instead = [f"`{one.instead}` instead of `{one.id}`" for one in report.artifacts if one.instead]
    if refused:
        return f"{refused[0].verdict}: {_codes([one.id for one in refused])}"
    if report.unverified:
        return "unverified, there were no targets to judge by"
    return ", ".join(["within budget", *instead])


def _origin(report: ConversionReport) -> str:
    parts = [f"from {escape(report.run)}"]
    parts.append(f"release {report.release}" if report.release else "nothing was bundled")
    if report.artifacts and len(report.reused) == len(report.artifacts):
        parts.append("nothing had changed, the last conversion was reused")
    elif report.reused:
        parts.append(f"not converted again: {_codes(report.reused)}")
    return " · ".join(parts)


def _rows(artifact: ArtifactReport, report: ConversionReport) -> list[list[str]]:
    """Return a row for each output, judged ones first."""
    worst = artifact.worst
    several = len(worst) + len(report.unverified) > 1
    rows = [
        _row(artifact, drift.output if several else "", drift.verdict, show(drift))
        for drift in worst
    ]
    unknown = Shown("–", "–", "–", "–", "–")
    return rows + [
        _row(artifact, name if several else "", "unverified", unknown) for name in report.unverified
    ]


def _row(artifact: ArtifactReport, output: str, verdict: str, seen: Shown) -> list[str]:
    name = f"`{artifact.id}`" + (f" · {escape(output)}" if output else "")
    if artifact.repaired:
        name += " (repaired)"
    if artifact.instead:
        verdict = f"{verdict}, `{artifact.instead}` instead"
    elif verdict != "pass":
        verdict = f"**{verdict}**"
    share = "–" if artifact.size_ratio is None else f"{artifact.size_ratio:.3f}"
    fastest = artifact.fastest
    time = "–" if fastest is None else f"{show_time(fastest[1])}, {escape(fastest[0])}"
    needs = ", ".join(f"{escape(n)} {escape(v)}" for n, v in artifact.min_runtime.items())
    return [
        *(name, verdict, f"{artifact.size:,}", share, f"{seen.reference} → {seen.value}"),
        *(seen.drop, seen.within, seen.budget, time, needs),
    ]


def _table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    heads, rules = zip(*columns, strict=True)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows))


def _reasons(report: ConversionReport) -> str:
    lines = []
    for one in report.artifacts:
        if one.reason:
            lines.append(f"`{one.id}` {one.verdict}: {escape(one.reason)}")
        if one.repaired:
            lines.append(f"`{one.id}` repaired: {escape(one.repaired)}")
    return _section("Why", lines)


def _outcomes(report: ConversionReport) -> list[str]:
    """Return how the repair of each artifact ended, in one line."""
    lines = []
    for wanted in dict.fromkeys(step.wanted for step in report.repair):
        steps = [step for step in report.repair if step.wanted == wanted]
        taken = [step for step in steps if step.taken]
        lines += [f"{_step(step)}, the last of {len(steps)} steps" for step in taken]
        if not taken:
            lines.append(f"`{wanted}`: {len(steps)} tried, none of them enough")
    return lines


def _step(step: RepairStep) -> str:
    """Return a step of the repair in one line."""
    made = f"`{step.wanted}`" + (f" → `{step.artifact}`" if step.artifact != step.wanted else "")
    text = f"{made}: {escape(step.how)}: {step.samples} **{step.verdict}**"
    seen = [show(drift) for drift in step.drifts]
    if seen:
        text += ", " + ", ".join(f"drop {one.drop}, within {one.within}" for one in seen)
    if step.reason:
        text += f", {escape(step.reason)}"
    return text + (" (**taken**)" if step.taken else "")


def _parity(report: ConversionReport) -> str:
    """Return what every runtime and device made of the artifacts: in short, and folded in full."""
    if not report.parity:
        return ""
    ran = [row.max_lsb for row in report.parity if row.max_lsb is not None]
    brief = [
        f"largest difference {max(ran, default=0):,} LSB in {len(ran)} of {len(report.parity)} rows"
        " that ran"
        "; raw outputs and decisions are compared with the first row of each artifact, those of "
        "devices with what their row names",
    ]
    table = _table(_PARITY_COLUMNS, [_parity_row(row) for row in report.parity])
    return f"{_section('Parity', brief)}\n\n{_fold('Parity of every row', table)}"


def _parity_row(row: ParityRow) -> list[str]:
    ran = row.max_lsb is not None
    return [
        *(f"`{row.artifact}`", escape(row.runtime), escape(row.kernels), f"{row.samples:,}"),
        f"{row.max_lsb:,}" if ran else "**does not run**",
        f"{100 * row.differing:.2f} %" if ran else "–",
        "–" if row.flips is None else f"{row.flips:,}",
        escape(row.detail),
    ]


def _section(title: str, lines: Sequence[str], *, folded: bool = False) -> str:
    if not lines:
        return ""
    items = "\n".join(f"- {line}" for line in lines)
    return _fold(title, items) if folded else f"#### {title}\n\n{items}"


def _fold(title: str, text: str) -> str:
    # The blank line makes GitHub read Markdown again inside of HTML.
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _codes(ids: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in ids)
