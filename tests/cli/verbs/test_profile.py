"""``mnasfpn profile``: what may be asked for."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from mnasfpn.cli.verbs.profile import profile
from mnasfpn.search.search_space import SPACES
from mnasfpn.tests.cli.processes import refused


def test_spaces_are_those_of_mnasfpn_cells() -> None:
    """The command line does not import what it names, to answer at once."""
    (space,) = (option for option in profile.params if option.name == "space")
    assert isinstance(space.type, click.Choice)
    assert set(space.type.choices) == {
        name for name, (_, cell) in SPACES.items() if cell == "mnasfpn"
    }


@pytest.mark.parametrize("given", ["int8", "float32,int4", "float32;int8", ""])
def test_kinds_of_arithmetic_are_those_there_are(given: str, tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    message = refused("profile", "--arithmetic", given, "--out", out)
    assert "--arithmetic takes float32" in message
    assert "int8, hybrid" in message
    assert not out.exists()
