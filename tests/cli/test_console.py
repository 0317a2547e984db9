"""JSON, tables and errors, whatever the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnasfpn.cli.console import command, print_table, to_json


def test_numbers_that_json_has_no_word_for_are_null() -> None:
    import numpy as np

    values = {"a": float("nan"), "b": np.float32(0.5), "c": np.arange(2), "d": Path("x")}
    assert json.loads(to_json(values)) == {"a": None, "b": 0.5, "c": [0, 1], "d": "x"}


def test_the_systems_own_errors_are_one_line(tmp_path: Path) -> None:
    @command
    def opens(as_json: bool) -> None:
        (tmp_path / "nothing").read_text()

    result = CliRunner().invoke(opens)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"mnasfpn: No such file or directory: {tmp_path}/nothing; ")
    assert result.stderr.count("\n") == 1


def test_numbers_are_right_aligned_under_their_heading(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        "two", ("name", "ms", "why"), [("a", 1.5, "x"), ("bb", None, "y")], words=("name", "why")
    )
    title, _, heading, _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert title == "two"
    assert heading.split() == ["name", "ms", "why"]
    assert first.index("1.5") + len("1.5") == heading.index("ms") + len("ms")
    assert first.index("x") == second.index("y") == heading.index("why")
    assert second.split() == ["bb", "y"]
