"""The page: escaped, self-contained, numbers aligned."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from mnasfpn.report.page import HtmlTable, Section, is_numeric, render

EVIL = '<script>alert("x")</script> & {{ 7 * 7 }}'


class Reader(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def page() -> str:
    table = HtmlTable((EVIL, "ms"), ((EVIL, "12.5"), ("b", "")))
    section = Section(EVIL, (EVIL,), (("<svg><g></g></svg>", EVIL),), (table,), EVIL)
    return render(EVIL, EVIL, {EVIL: EVIL}, [section, Section("empty")])


def test_everything_but_figures_is_escaped() -> None:
    found = Reader(page())
    tags = [tag for tag, _ in found.tags]
    assert "script" not in tags
    assert tags.count("svg") == 1
    # title, heading, subtitle, fact and its name, section's title, text, warning, caption, 2 cells
    assert found.words.count(EVIL) == 11


def test_numbers_are_right_aligned_with_their_heading() -> None:
    cells = [attributes for tag, attributes in Reader(page()).tags if tag in ("th", "td")]
    assert [cell.get("class") for cell in cells] == [None, "number"] * 3


def test_nothing_is_loaded_from_elsewhere() -> None:
    for tag, attributes in Reader(page()).tags:
        assert tag not in ("link", "script", "img", "iframe")
        assert not {"src", "href"} & set(attributes)
    assert "http" not in page()
    assert "url(" not in page()
    assert "@import" not in page()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.5", "-2", "+0.3", ".5", "±1", "12.1 to 13.0", "7%"], True),
        (["1", "", "not measured", "not covered"], True),
        (["1", "notable"], False),
        (["1", "x"], False),
        ([], True),
    ],
)
def test_which_columns_are_numbers(cells: list[str], expected: bool) -> None:
    assert is_numeric(cells) == expected


def test_a_table_without_rows_has_its_headings() -> None:
    assert HtmlTable(("a", "b"), ()).numeric == (True, True)
    words = Reader(
        render("", "", {}, [Section("s", tables=(HtmlTable(("first", "b"), ()),))])
    ).words
    assert "first" in words
