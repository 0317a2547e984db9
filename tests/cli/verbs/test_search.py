"""``mnasfpn search``: what may be asked for."""

from __future__ import annotations

import click

from mnasfpn.cli.verbs.search import search
from mnasfpn.search.controllers.registry import CONTROLLERS
from mnasfpn.search.search_space import SPACES


def test_names_in_the_help_are_those_that_there_are() -> None:
    """The command line does not import what it names, to answer at once."""
    offered = {
        option.name: tuple(option.type.choices)
        for option in search.params
        if isinstance(option.type, click.Choice)
    }
    assert set(offered["space"]) == set(SPACES)
    assert offered["controller"] == CONTROLLERS
