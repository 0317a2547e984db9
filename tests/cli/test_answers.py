"""What commands print, for people and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mnasfpn.models.model_files import to_json as model_json
from mnasfpn.models.published import PUBLISHED
from mnasfpn.tests.cli.processes import FEW_HEADS, MNASFPN, MODEL, SIMULATED, invoke, run

pytestmark = pytest.mark.xdist_group("cli")  # one profile and one study for all


def test_brackets_in_a_name_are_no_markup(fitted: Path, tmp_path: Path) -> None:
    path = tmp_path / "[red]a[" / "[b].json"
    path.parent.mkdir()
    path.write_text(model_json(PUBLISHED[MODEL]))
    assert "[b]: " in invoke("estimate", path, "--profile", fitted).stdout
    out = path.with_suffix(".html")
    assert invoke("report", "--profile", fitted, "--out", out).stdout == f"{out}\n"


@pytest.mark.slow
def test_json_is_one_object_on_stdout_and_nothing_else(
    measured: Path, fitted: Path, study: Path, tmp_path: Path
) -> None:
    """Of the commands of seconds; those that train are tested
    with trained models."""
    again = shutil.copy(measured, tmp_path / "again.json")
    for arguments in (
        ["models"],
        ["devices"],
        ["fit", again],
        ["estimate", MODEL, "--profile", fitted],
        ["frontier", study, "--out", tmp_path / "finalists"],
        ["report", "--profile", fitted, "--study", study, "--out", tmp_path / "r.html"],
    ):
        done = run(*MNASFPN, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        assert isinstance(json.loads(done.stdout), dict)
    for arguments in (
        ["profile", "--out", tmp_path / "p.json", "--store", measured.with_suffix(".db")],
        ["search", "--controller", "random", "--samples", 5, "--profile", fitted, "--study", study],
    ):
        few = FEW_HEADS if arguments[0] == "profile" else []
        done = run(*SIMULATED, "0", *arguments, *few, "--json")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        assert json.loads(done.stdout)
        assert done.stderr == ""
    assert (tmp_path / "p.json").read_bytes() == measured.read_bytes()


HEAVY = ("sklearn", "scipy", "tensorflow", "keras", "torch", "ray", "matplotlib")
