"""Reports are templates beside this file; what fills them is given by ``html`` and ``markdown``."""

from __future__ import annotations

from importlib import resources
from typing import Any

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """Fill a template of this package; text for HTML is escaped by itself.

    Args:
        template: Its file, ``NAME.html.j2`` or ``NAME.md.j2``.
        values: What it names; a name that is missing is an error, never empty.
    """
    # Here, because an answer that is not shown as a report needs none of it.
    import jinja2

    environment = jinja2.Environment(
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=template.endswith(".md.j2"),
    )
    text = (resources.files(__package__) / template).read_text(encoding="utf-8")
    return environment.from_string(text).render(**values)
