"""A page: sections of text, figures and tables, as one HTML file without outside references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Args:
    title: heading.
    text: plain paragraphs.
    figures: (SVG text, caption).
    warning: shown above the text, where a reader must not miss it.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    warning: str = ""


def render(title: str, subtitle: str, facts: dict[str, str], sections: Sequence[Section]) -> str:
    """The page as HTML text; everything but the figures' SVG is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mnasfpn.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title, subtitle=subtitle, facts=facts, sections=sections
    )
