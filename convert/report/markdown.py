"""A conversion for a pull request: Markdown as GitHub renders it, in comments and job summaries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeward.convert.report.template import render
from edgeward.convert.report.words import Shown, show, show_time
from edgeward.runtime.errors import EdgewardError

if TYPE_CHECKING:
    from edgeward.convert.repair.step import RepairStep
    from edgeward.convert.report.report import ConversionReport

__all__ = ["error_to_markdown", "escape", "to_markdown"]

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]|~$])")

# What GitHub makes a link of, and tells the person that is named.
_REFERENCE = re.compile(r"([@#])(?=\w)|(?<=\w)(:)(?=//)|(?<=\bwww)(\.)")


def to_markdown(report: ConversionReport) -> str:
    """Return what a conversion did, for a pull request.

    Args:
        report: Of a conversion that was done or refused.

    Returns:
        One table of the artifacts, why what is missing is missing, how repair went, and the parity
        matrix where there is one; ends with a new line.
    """
    repairs: dict[str, list[RepairStep]] = {}
    for step in report.repair:
        repairs.setdefault(step.wanted, []).append(step)
    return render(
        "report.md.j2",
        report=report,
        repairs=repairs,
        unknown=Shown("–", "–", "–", "–", "–"),
        md=escape,
        show=show,
        show_time=show_time,
    )


def error_to_markdown(error: EdgewardError) -> str:
    """Return an error that left no report: invalid data, a model that the format cannot hold.

    Without a template: the error may be that what fills templates is not installed.
    """
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
