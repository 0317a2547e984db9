"""What cannot work is refused in one line that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mnasfpn.cli.console import command
from mnasfpn.models.model_files import to_json as model_json
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.search.study import Study
from mnasfpn.tests.cli.processes import BUNDLED, MODEL, invoke, refused


def test_unknown_models_are_refused_with_the_nearest_name(fitted: Path) -> None:
    message = refused("estimate", "mobilenetv2-mnasfp", "--profile", fitted)
    assert "'mobilenetv2-mnasfp'" in message
    assert f"{MODEL!r}" in message
    assert "nothing.json" in refused("estimate", "nothing.json", "--profile", fitted)
    for text in ("", ".", "/", "*", "nothing.tflite", "nothing.jsonl"):
        refused("estimate", text, "--profile", fitted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cell: cell["blocks"][1].update(inputs=[0, 5]), "takes itself (input 5)"),
        (lambda cell: cell["blocks"][1].update(inputs=[0, 7]), "not before it (input 7)"),
        (lambda cell: cell["blocks"][1].update(inputs=[0, -1]), "not before it (input -1)"),
        (lambda cell: cell["blocks"][2].update(level=7), "level"),
        (lambda cell: cell["blocks"][4].update(level=5), "level"),  # nothing makes level 6
        (lambda cell: cell["blocks"][0].pop("inputs"), "`inputs`"),
        (lambda cell: cell["blocks"][0].update(kernel="3"), "kernel"),
        (lambda cell: cell.update(blocks=[]), "block"),
        (lambda cell: cell.update(schema="mnasfpn-genotype-9"), "schema"),
        (lambda cell: cell.update(chanels=48), "chanels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_genotypes_are_refused(
    fitted: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    cell = json.loads(model_json(PUBLISHED[MODEL].head))
    change(cell)
    path = tmp_path / "g.json"
    path.write_text(json.dumps(cell))
    found = refused("estimate", path, "--profile", fitted)
    assert str(path) in found
    assert message in found


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


def test_a_profile_that_was_not_fitted_says_what_to_do(measured: Path) -> None:
    message = refused("estimate", MODEL, "--profile", measured, code=1)
    assert "mnasfpn fit" in message


@pytest.mark.parametrize("content", [b"hello", b"", b"TFL3" * 4, b"\x1c\0\0\0TFL3" + b"\0" * 60])
def test_files_that_are_no_tflite_are_refused(fitted: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    assert str(path) in refused("estimate", path, "--profile", fitted)


def test_half_a_tflite_is_refused(fitted: Path, tmp_path: Path) -> None:
    whole = write_tflite(PUBLISHED[MODEL].graph())
    path = tmp_path / "m.tflite"
    path.write_bytes(whole[: len(whole) // 2])
    assert str(path) in refused("estimate", path, "--profile", fitted)


def test_damaged_studies_are_refused(fitted: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    assert "no such study" in refused("frontier", path)
    path.write_text("hello")
    refused("frontier", path)
    refused("report", "--profile", fitted, "--study", path, "--out", tmp_path / "r.html")
    refused("search", "--profile", fitted, "--study", path)


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


def test_lists_of_numbers_are_read_as_what_they_are(study: Path) -> None:
    assert "--at takes numbers" in refused("frontier", study, "--at", "fast")
    assert "--repeats takes whole numbers" in refused("frontier", study, "--repeats", "1.5")
    assert "fastest takes" in refused("frontier", study, "--at", "0.001")


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
        ["export", MODEL, "--out", "m.tflite", "--images", "0"],
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


def test_the_systems_own_errors_are_one_line(tmp_path: Path) -> None:
    group = click.Group()

    @command(group)
    def opens(as_json: bool) -> None:
        (tmp_path / "nothing").read_text()

    result = CliRunner().invoke(group, ["opens"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"mnasfpn: No such file or directory: {tmp_path}/nothing; ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("given", ["int8", "float32,int4", "float32;int8", ""])
def test_kinds_of_arithmetic_are_those_there_are(given: str, tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    message = refused("profile", "--arithmetic", given, "--out", out)
    assert "--arithmetic takes float32" in message
    assert "int8, hybrid" in message
    assert not out.exists()
