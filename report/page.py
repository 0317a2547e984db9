"""A page: sections of text, figures and tables, as one HTML file without outside references."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """Cells as they are printed; as many in each row as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Of each column: whether it is to be right-aligned."""
        cells = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        return tuple(map(is_numeric, cells))


def is_numeric(cells: Iterable[str]) -> bool:
    """Whether all of a column's cells are numbers with what belongs to them, or say ``not ...``."""
    return all(not cell or cell[0] in "0123456789+-.±" or cell.startswith("not ") for cell in cells)


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
    tables: tuple[HtmlTable, ...] = ()
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
