"""What commands print, for people and as JSON, and what an estimate costs."""

from __future__ import annotations

import json
import resource
import shutil
import sys
from pathlib import Path

import click
import pytest

from mnasfpn import __version__
from mnasfpn.cli.console import to_json
from mnasfpn.cli.main import main
from mnasfpn.models.model_files import to_json as model_json
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.models.training.recipes import RECIPES
from mnasfpn.search.controllers import CONTROLLERS
from mnasfpn.search.search_space import SPACES
from mnasfpn.tests.cli.processes import BUNDLED, FEW_HEADS, MNASFPN, MODEL, SIMULATED, invoke, run

# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", main.commands)
def test_help_explains_every_option(name: str) -> None:
    shown = invoke(name, "--help").stdout
    assert invoke(name, "-h").stdout == shown
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert all(option in shown for option in parameter.opts)
        else:
            assert parameter.human_readable_name in shown


def test_help_lists_every_command_with_a_whole_sentence() -> None:
    shown = invoke("--help").stdout
    for name in main.commands:
        (line,) = (line for line in shown.splitlines() if line.startswith(f"  {name} "))
        assert line.endswith(".")
        assert not line.endswith("...")
    assert __version__ in invoke("--version").stdout


def test_names_in_the_help_are_those_that_there_are() -> None:
    """The command line does not import what it names, to answer at once."""
    offered = {
        name: {option.name: option for option in main.commands[name].params}
        for name in ("search", "train")
    }
    assert set(offered["search"]["space"].type.choices) == set(SPACES)
    assert tuple(offered["search"]["controller"].type.choices) == CONTROLLERS
    assert all(recipe in offered["train"]["recipe"].help for recipe in RECIPES)


# --- answers --------------------------------------------------------------------------------------


def test_models_shows_every_system_beside_the_papers_figures() -> None:
    shown = invoke("models").stdout
    assert all(name in shown for name in PUBLISHED)
    assert "0.9186" in shown
    assert "2.5030" in shown
    rows = json.loads(invoke("models", "--json").stdout)["models"]
    assert {row["name"] for row in rows} == set(PUBLISHED)
    (row,) = (row for row in rows if row["name"] == MODEL)
    assert row["params"] == 2503047
    assert row["paper"]["counting"] == "all"


def test_devices_without_adb_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from mnasfpn.android_harness.phone import adb
    from mnasfpn.errors import StableDeviceError

    def missing() -> list[object]:
        raise StableDeviceError("there is no adb; install the platform tools")

    monkeypatch.setattr(adb, "list_devices", missing)
    result = invoke("devices", "--json")
    assert result.exit_code == 0
    host, phones = json.loads(result.stdout)["devices"]
    assert (host["serial"], host["state"], host["fix"]) == ("host", "device", "")
    assert "install the platform tools" in phones["fix"]
    assert "this PC" in invoke("devices").stdout


def test_estimate_adds_up_and_says_how_good_it_is(fitted: Path) -> None:
    shown = invoke("estimate", MODEL, "--profile", fitted, "--layers")
    (found,) = json.loads(
        invoke("estimate", MODEL, "--profile", fitted, "--layers", "--json").stdout
    )["estimates"].values()
    assert sum(found["by_part_ms"].values()) == pytest.approx(found["latency_ms"])
    kernels_ms = sum(row["latency_ms"] for row in found["layers"])
    assert kernels_ms + found["by_part_ms"]["overhead"] == pytest.approx(found["latency_ms"])
    assert f"{found['latency_ms']:.2f} ms" in shown.stdout
    assert found["accuracy"] in shown.stdout
    assert "simulated" in shown.stdout


def test_estimate_takes_files_of_every_kind(fitted: Path, tmp_path: Path) -> None:
    detector = PUBLISHED[MODEL]
    (tmp_path / "d.json").write_text(model_json(detector))
    (tmp_path / "g.json").write_text(model_json(detector.head))
    (tmp_path / "m.jsonl").write_text(f"{model_json(detector)}\n\n{model_json(detector.head)}\n")
    (tmp_path / "m.tflite").write_bytes(write_tflite(detector.graph()))
    found = {}
    for name in (MODEL, "d.json", "g.json", "m.jsonl", "m.tflite"):
        text = name if name == MODEL else tmp_path / name
        result = invoke("estimate", text, "--profile", fitted, "--json")
        assert result.exit_code == 0, result.output
        found |= {
            f"{name}/{key}": value["latency_ms"]
            for key, value in json.loads(result.stdout)["estimates"].items()
        }
    assert len(found) == 6
    (latency_ms,) = {round(value, 9) for value in found.values()}
    assert latency_ms > 0


def test_brackets_in_a_name_are_no_markup(fitted: Path, tmp_path: Path) -> None:
    path = tmp_path / "[red]a[" / "[b].json"
    path.parent.mkdir()
    path.write_text(model_json(PUBLISHED[MODEL]))
    assert "[b]: " in invoke("estimate", path, "--profile", fitted).stdout
    out = path.with_suffix(".html")
    assert invoke("report", "--profile", fitted, "--out", out).stdout == f"{out}\n"


def test_numbers_that_json_has_no_word_for_are_null() -> None:
    import numpy as np

    values = {"a": float("nan"), "b": np.float32(0.5), "c": np.arange(2), "d": Path("x")}
    assert json.loads(to_json(values)) == {"a": None, "b": 0.5, "c": [0, 1], "d": "x"}


def test_json_is_one_object_on_stdout_and_nothing_else(
    measured: Path, fitted: Path, study: Path, tmp_path: Path
) -> None:
    """Of the commands of seconds; those that train are tested with the jobs."""
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


def test_frontier_writes_finalists_that_estimate_reads(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "finalists"
    shown = invoke("frontier", study, "--repeats", "3,4", "--out", out, "--json")
    assert shown.exit_code == 0, shown.output
    for item in json.loads(shown.stdout)["finalists"]:
        name = f"trial{item['trial']}-x{item['repeats']}"
        assert (out / f"{name}.svg").read_text().lstrip().startswith("<?xml")
        found = invoke(
            "estimate", out / f"{name}.json", "--profile", study.with_name("fitted.json"), "--json"
        )
        (value,) = json.loads(found.stdout)["estimates"].values()
        assert value["latency_ms"] == pytest.approx(item["latency_ms"])


# --- the price of an estimate ---------------------------------------------------------------------

HEAVY = ("sklearn", "scipy", "tensorflow", "keras", "torch", "ray", "matplotlib")


def test_estimate_of_a_published_model_loads_nothing_heavy() -> None:
    program = (
        "import sys; from mnasfpn.cli.main import main; "
        f"main(['estimate', '{MODEL}', '--profile', '{BUNDLED}'], standalone_mode=False); "
        f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    done = run(sys.executable, "-c", program, check=True)
    assert done.stderr.split() == []
    assert f"{MODEL}: " in done.stdout


def cpu_seconds(*command: str) -> float:
    """User and system time, best of several: what else runs here costs cache, never less time."""
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(*command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        best = min(best, spent)
    return best


def test_estimate_costs_little_more_than_importing_numpy() -> None:
    """The bound is a promise of the project: 0.4 s of CPU time."""
    floor = cpu_seconds(sys.executable, "-c", "import numpy")
    assert cpu_seconds(*MNASFPN, "estimate", MODEL, "--profile", BUNDLED) <= floor + 0.4
