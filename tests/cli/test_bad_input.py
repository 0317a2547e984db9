"""What cannot work is refused in one line that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mnasfpn.search.study import Study
from mnasfpn.tests.cli.processes import BUNDLED, MODEL, invoke, refused

pytestmark = pytest.mark.xdist_group("cli")  # one profile and one study for all


def test_damaged_profiles_are_refused_by_every_command_that_reads_one(
    fitted: Path, tmp_path: Path
) -> None:
    good = json.loads(fitted.read_text())
    missing = dict(good)
    del missing["device"]
    row = json.loads(fitted.read_text())
    row["table"][3]["latency_us"] = "fast"
    cases = {
        "not-json": ("hello", "malformed"),
        "empty": ("", "p.json"),
        "binary": ("\0\1", "p.json"),
        "list": ("[]", "expected `object`"),
        "schema": (json.dumps({**good, "schema": 7}), "schema 7"),
        "missing": (json.dumps(missing), "`device`"),
        "type": (json.dumps(row), "$.table[3].latency_us"),
    }
    path = tmp_path / "p.json"
    for text, message in cases.values():
        path.write_text(text)
        for arguments in (
            ["estimate", MODEL, "--profile", path],
            ["fit", path],
            ["report", "--profile", path, "--out", tmp_path / "r.html"],
            ["search", "--profile", path, "--study", tmp_path / "s.db"],
        ):
            found = refused(*arguments)
            assert "p.json" in found
            assert message.lower() in found.lower()
        assert path.read_text() == text
    assert sorted(tmp_path.iterdir()) == [path]


def test_profiles_that_are_not_there_name_those_that_are(tmp_path: Path) -> None:
    assert BUNDLED in refused("estimate", MODEL, "--profile", "nothing")
    assert f"mean {BUNDLED!r}" in refused("estimate", MODEL, "--profile", "pixel-published")
    refused("estimate", MODEL, "--profile", tmp_path)
    refused("fit", tmp_path / "nothing.json")


def test_damaged_studies_are_refused(fitted: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    assert "no such study" in refused("frontier", path)
    path.write_text("hello")
    refused("frontier", path)
    refused("report", "--profile", fitted, "--study", path, "--out", tmp_path / "r.html")
    refused("search", "--profile", fitted, "--study", path)


@pytest.mark.slow
def test_a_study_without_a_finished_trial_has_no_report(
    fitted: Path, study: Path, tmp_path: Path
) -> None:
    path = tmp_path / "s.db"
    with Study(study) as full, Study(path, full.plan):
        pass
    assert "no finished trial" in refused(
        "report", "--profile", fitted, "--study", path, "--out", tmp_path / "r.html"
    )
    assert "no finished trial" in refused("frontier", path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["profile", "--out", "nowhere/p.json"],
        ["profile", "--out", "."],
        ["profile", "--out", "p.json", "--store", "nowhere/p.db"],
        ["profile", "--out", "p.json", "--validation-heads", "4"],
        ["search", "--profile", BUNDLED, "--study", "nowhere/s.db"],
        ["search", "--profile", BUNDLED, "--study", "s.db", "--samples", "0"],
        ["report", "--profile", BUNDLED, "--out", "nowhere/r.html"],
        ["export", MODEL, "--out", "m.tflite", "--count", "0"],
        ["export", MODEL, "--out", "m.tflite", "--precision", "int4"],
        ["estimate", MODEL],
        ["nothing"],
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


def test_unknown_devices_and_tools(tmp_path: Path) -> None:
    binary = refused("profile", "--binary", "x", "--out", tmp_path / "p.json")
    assert "--binary is for phones" in binary
    assert "arm64-v8a" in refused("devices", "--fetch-tool", "z80")
