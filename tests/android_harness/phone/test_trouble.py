"""The table of troubles and the tests behind it belong together, row by row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mnasfpn.tests.android_harness.phone.trouble import Row, table

ROWS = table()


def named_for_rows() -> list[str]:
    """Names of the tests beside this one that compare something with a row."""
    return [
        node.name
        for path in sorted(Path(__file__).parent.glob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and "row" in [each.arg for each in node.args.args]
    ]


def test_every_row_has_its_test_and_every_such_test_its_row() -> None:
    assert sorted(named_for_rows()) == sorted(ROWS)


@pytest.mark.parametrize("each", ROWS.values(), ids=ROWS)
def test_a_row_says_what_is_seen_and_what_to_do(each: Row) -> None:
    assert each.seen
    assert each.what_to_do


def test_a_row_is_compared_with_what_was_said() -> None:
    row = Row("a trouble's name: `x`", "First `lost … of …;` then `gone`", "Nothing")
    assert row.test_name == "test_a_troubles_name_x"
    row.seen_in("lost one of two; and\n it is gone")
    for other in ("lost one of two; and it stays", "it is gone", ""):
        with pytest.raises(AssertionError, match="a trouble's name"):
            row.seen_in(other)
