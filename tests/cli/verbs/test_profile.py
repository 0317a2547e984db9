"""``mnasfpn profile``: what may be asked for."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click
import pytest

from mnasfpn.cli.verbs.profile import profile
from mnasfpn.latency.profile.device_profile import load_profile
from mnasfpn.latency.profiling.profile_options import ProfileOptions
from mnasfpn.latency.profiling.store import name_of
from mnasfpn.models.space import MNASFPN_SPACES
from mnasfpn.search.search_space import SPACES
from mnasfpn.tests.cli.processes import (
    BUNDLED,
    FEW_HEADS,
    MODEL,
    SIMULATED,
    invoke,
    refused,
    run,
)


def test_spaces_are_those_of_mnasfpn_cells() -> None:
    """The command line does not import what it names, to answer at once."""
    (space,) = (option for option in profile.params if option.name == "space")
    assert isinstance(space.type, click.Choice)
    assert set(space.type.choices) == {
        name for name, (_, cell) in SPACES.items() if cell == "mnasfpn"
    }
    assert set(space.type.choices) == set(MNASFPN_SPACES)


OTHERS = ProfileOptions(*("A1B2", "no-expand", 64, 5, 6, 7, "int8,float32", "builtin", "packed", 3))


@pytest.mark.parametrize("asked", [ProfileOptions(), OTHERS])
def test_what_is_asked_for_is_what_is_typed(asked: ProfileOptions, tmp_path: Path) -> None:
    """Left out, an option is what it is in a value that says nothing of it."""
    out = f"--out={tmp_path / 'p.json'}"
    words = [] if asked == ProfileOptions() else asked.words
    typed = profile.make_context("profile", [*words, out]).params
    assert ProfileOptions(**{name: typed[name] for name in asdict(asked)}) == asked


@pytest.mark.parametrize("given", ["int8", "float32,int4", "float32;int8", ""])
def test_kinds_of_arithmetic_are_those_there_are(given: str, tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    message = refused("profile", "--arithmetic", given, "--out", out)
    assert "--arithmetic takes float32" in message
    assert "int8, hybrid" in message
    assert not out.exists()


@pytest.mark.slow
def test_runs_that_do_not_tell_their_file_are_counted_and_measured_again(
    measured: Path, tmp_path: Path
) -> None:
    """A store as 0.1.0 left it: the same runs under names alone."""
    store = Path(shutil.copy(measured.with_suffix(".db"), tmp_path / "p.db"))
    with closing(sqlite3.connect(store)) as database, database:
        database.create_function("name_of", 1, name_of)
        database.execute("UPDATE run SET key = name_of(key)")
        (runs,) = database.execute("SELECT count(*) FROM run").fetchone()
    command = (*SIMULATED, "0", "profile", "--out", tmp_path / "p.json", *FEW_HEADS)
    first, again = (run(*command) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert f"the store has {runs} runs of this device from before 0.2" in first.stdout
    assert load_profile(tmp_path / "p.json").table == load_profile(measured).table
    with closing(sqlite3.connect(store)) as database:
        (both,) = database.execute("SELECT count(*) FROM run").fetchone()
    assert both == 2 * runs  # the second call measured nothing
    assert f"{runs} runs of this device" in again.stdout


def test_what_has_no_meaning_beside_another_phones_profile_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    few = ("profile", "--from", BUNDLED, "--out", out)
    message = refused(*few, "--general", "16", "--kernels", "alone")
    assert "with --from whole models are measured" in message
    assert "leave --general, --kernels out" in message or "--kernels, --general out" in message
    assert "--models belongs to --from" in refused("profile", "--models", "9", "--out", out)
    assert "there is no profile 'nobody.json'" in refused(*few[:1], "--from=nobody.json", *few[3:])
    assert "4 is not in the range x>=5" in invoke(*few, "--models", "4").output
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.xdist_group("cli")
def test_a_new_phone_from_an_old_profile(fitted: Path, tmp_path: Path) -> None:
    """Ready to estimate with, and it says how good that is."""
    out = tmp_path / "new.json"
    done = run(*SIMULATED, "0", "profile", "--from", fitted, "--models", "6", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "6 models simulated on" in done.stdout
    assert "on 6 models, each predicted from the others" in done.stdout
    assert f"next: mnasfpn estimate mobilenetv2-mnasfpn --profile {out}" in done.stdout
    found = load_profile(out)
    assert found.require_calibration().models == 6
    assert found.heads == ()
    shown = invoke("estimate", MODEL, "--profile", out)
    assert shown.exit_code == 0, shown.output
    assert str(found.validation) in shown.stdout
