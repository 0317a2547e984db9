"""The command line as a newcomer and a sceptic meet it: real processes where they matter."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from mnasfpn import __version__
from mnasfpn.cli import main
from mnasfpn.console import command, to_json
from mnasfpn.latency.profile import load_profile
from mnasfpn.models.files import to_json as model_json
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.tflite_writer import write_tflite
from mnasfpn.search.study import Study

MNASFPN = [str(Path(sys.executable).with_name("mnasfpn"))]
SIMULATED = [sys.executable, str(Path(__file__).with_name("simulated_host.py"))]
FEW_HEADS = ["--calibration-heads", "8", "--validation-heads", "8"]
MODEL, BUNDLED = "mobilenetv2-mnasfpn", "pixel1-published"


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), prog_name="mnasfpn")


def refused(*arguments: str | Path, code: int = 2) -> str:
    """Message of a command that must fail with one line and nothing else."""
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("mnasfpn: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated profile, made by the ordinary command, not fitted."""
    path = tmp_path_factory.mktemp("measured") / "simulated.json"
    done = run(*SIMULATED, "0", "profile", "--out", path, *FEW_HEADS)
    assert done.returncode == 0, done.stderr
    assert f"next: mnasfpn fit {path}" in done.stdout
    return path


@pytest.fixture(scope="session")
def fitted(measured: Path) -> Path:
    path = measured.with_name("fitted.json")
    shutil.copy(measured, path)
    result = invoke("fit", path)
    assert result.exit_code == 0, result.output
    for figure in ("R2", "RMSPE", "within 5 %", "within 10 %", "Kendall tau", "noise floor"):
        assert figure in result.stdout
    return path


@pytest.fixture(scope="session")
def study(fitted: Path) -> Path:
    path = fitted.with_name("study.db")
    done = search(path, fitted, 5)
    assert done.returncode == 0, done.stderr
    return path


def search(study: Path, profile: Path, samples: int) -> subprocess.CompletedProcess[str]:
    return run(*search_command(study, profile, samples))


def search_command(study: Path, profile: Path, samples: int) -> list[str]:
    options = ["--profile", profile, "--study", study, "--samples", samples]
    return [*SIMULATED, "0", "search", "--controller", "random", *map(str, options)]


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
    from mnasfpn.android_harness import adb
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
        "import sys; from mnasfpn.cli import main; "
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


# --- bad input ------------------------------------------------------------------------------------


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


# --- interrupted ----------------------------------------------------------------------------------


def count(database: Path, query: str) -> int:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
            return int(opened.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0


def ctrl_c(command: Sequence[str], ready: Callable[[], bool]) -> str:
    """Start, press Ctrl-C when ready, as a terminal does: everybody in the group hears of it."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1, error
    assert out == ""
    assert "Traceback" not in error
    with pytest.raises(ProcessLookupError):  # no worker is left behind
        os.killpg(process.pid, 0)
    return error


def stored_runs(store: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(store) as opened:
        return opened.execute("SELECT key, run FROM run ORDER BY id").fetchall()


def assert_complete(out: Path, kept: list[tuple[str, str]]) -> None:
    """What was stored is still there, and nothing was measured twice."""
    runs = stored_runs(out.with_suffix(".db"))
    assert runs[: len(kept)] == kept
    visits = Counter(key for key, _ in runs if key != "sentinel")
    assert set(visits.values()) == {1}
    profile = load_profile(out)
    assert len(profile.table) + len(profile.heads) + 8 == len(visits)  # 8 heads measured again


def test_ctrl_c_while_profiling_loses_nothing_and_repeats_nothing(
    measured: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.json"
    store = out.with_suffix(".db")
    command = ["profile", "--out", str(out), *FEW_HEADS]
    error = ctrl_c(
        [*SIMULATED, "0.02", *command], lambda: count(store, "SELECT count(*) FROM run") >= 40
    )
    last = error.splitlines()[-1]
    assert last == "mnasfpn: interrupted; what was finished is stored, the same command continues"
    assert not out.exists()
    kept = stored_runs(store)
    done = run(*SIMULATED, "0", *command)
    assert done.returncode == 0, done.stderr
    assert_complete(out, kept)
    assert load_profile(out).table == load_profile(measured).table


def test_ctrl_c_while_this_pc_is_measured_leaves_no_process(tmp_path: Path) -> None:
    store = tmp_path / "p.db"
    command = [*SIMULATED, "real", "profile", "--out", str(tmp_path / "p.json"), *FEW_HEADS]
    error = ctrl_c(command, lambda: count(store, "SELECT count(*) FROM run") >= 5)
    assert error.splitlines()[-1].startswith("mnasfpn: interrupted; ")
    assert len(stored_runs(store)) >= 5


def test_ctrl_c_while_searching_loses_nothing_and_repeats_nothing(
    fitted: Path, study: Path, tmp_path: Path
) -> None:
    """The interrupted search ends as the one that was not."""
    path = tmp_path / "study.db"
    for folder in ("digits", "proxy-digits"):
        shutil.copytree(study.with_name(folder), tmp_path / folder)
    finished = "SELECT count(*) FROM trial WHERE status = 'finished'"
    error = ctrl_c(search_command(path, fitted, 200), lambda: count(path, finished) >= 2)
    assert error.splitlines()[-1].startswith("mnasfpn: interrupted; ")
    with Study(path) as stopped:
        kept = stopped.trials("finished")
    samples = len(kept) + 2
    done = search(path, fitted, samples)
    assert done.returncode == 0, done.stderr
    with Study(path) as whole, Study(study) as other:
        trials = whole.trials()
        assert [trial for trial in trials if trial in kept] == list(kept)
        assert {trial.status for trial in trials} == {"finished"}
        assert [t.cell for t in trials[:4]] == [t.cell for t in other.trials()[:4]]
        assert [t.evaluation for t in trials[:2]] == [t.evaluation for t in other.trials()[:2]]


# --- a full disk ----------------------------------------------------------------------------------


@dataclass
class Disk:
    """A folder that takes only so many bytes, until it is enlarged."""

    folder: Path
    mounted: bool
    limit: int

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return run(*command, preexec_fn=None if self.mounted else self._limit_files)

    def _limit_files(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.limit))

    def enlarge(self) -> None:
        self.limit = 100_000_000
        if self.mounted:
            run("mount", "-o", f"remount,size={self.limit}", self.folder, check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    """A tmpfs where one may be mounted, otherwise a limit on the size of files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounts: list[Path] = []

    def make(size: int) -> Disk:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        mounted = os.geteuid() == 0 and run(*mount).returncode == 0
        mounts.extend([folder] * mounted)
        return Disk(folder, mounted, size)

    yield make
    for mounted in mounts:
        run("umount", mounted, check=True)


def test_a_full_disk_leaves_the_profile_that_was_there(
    measured: Path, small_disk: Callable[[int], Disk]
) -> None:
    content = measured.read_bytes()
    disk = small_disk(len(content) + 8192)
    path = disk.folder / "p.json"
    shutil.copy(measured, path)
    done = disk.run(*MNASFPN, "fit", path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"mnasfpn: could not write {path}")
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == content
    assert list(disk.folder.iterdir()) == [path]
    disk.enlarge()
    assert disk.run(*MNASFPN, "fit", path).returncode == 0
    assert load_profile(path).validation is not None


def test_a_full_disk_while_measuring_loses_nothing_and_repeats_nothing(
    small_disk: Callable[[int], Disk],
) -> None:
    disk = small_disk(120_000)
    out = disk.folder / "p.json"
    store = out.with_suffix(".db")
    command = [*SIMULATED, "0", "profile", "--out", str(out), *FEW_HEADS]
    done = disk.run(*command)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"mnasfpn: cannot use the measurement store {store}: ")
    assert "free space" in last
    disk.enlarge()
    kept = stored_runs(store)
    assert kept
    done = disk.run(*command)
    assert done.returncode == 0, done.stderr
    assert_complete(out, kept)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As in ``mnasfpn models | head -1``."""
    process = subprocess.Popen(
        [*MNASFPN, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait()
