"""``mnasfpn search``: what may be asked for."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from mnasfpn.cli.verbs.search import search
from mnasfpn.search.controllers.registry import CONTROLLERS
from mnasfpn.search.search_space import SPACES
from mnasfpn.tests.cli.processes import BUNDLED, refused, run, search_command


def test_names_in_the_help_are_those_that_there_are() -> None:
    """The command line does not import what it names, to answer at once."""
    offered = {
        option.name: tuple(option.type.choices)
        for option in search.params
        if isinstance(option.type, click.Choice)
    }
    assert set(offered["space"]) == set(SPACES)
    assert offered["controller"] == CONTROLLERS


@pytest.mark.slow
@pytest.mark.xdist_group("cli")
def test_the_best_at_each_latency_is_shown(study: Path) -> None:
    """The same command again, which has nothing left to do."""
    command = search_command(study, study.with_name("fitted.json"), 5)
    done = run(*command, "--at", "1000,2000", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (best,) = found["best_at"]
    assert best["trial"] in {row["trial"] for row in found["frontier"]}
    shown = run(*command, "--at", "0.001,1000")
    assert shown.returncode == 0, shown.stderr
    assert "The best at each latency" in shown.stdout
    assert "nothing takes at most 0.001 ms; search on with more --samples" in shown.stdout


def test_latencies_that_are_none_are_refused_before_the_search(tmp_path: Path) -> None:
    study = tmp_path / "S.db"
    asked = ("search", "--profile", BUNDLED, "--study", study, "--at", "fast")
    assert "--at takes numbers like 166,173,180, got 'fast'" in refused(*asked)
    assert not study.exists()
