"""Ctrl-C, full disks, readers that leave: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mnasfpn.latency.profile.device_profile import load_profile
from mnasfpn.latency.profiling.session import SENTINEL_NAME
from mnasfpn.latency.profiling.store import name_of
from mnasfpn.search.study import Study
from mnasfpn.tests.cli.processes import FEW_HEADS, MNASFPN, SIMULATED, run, search, search_command

pytestmark = pytest.mark.xdist_group("cli")  # one profile and one study for all

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
    visits = Counter(key for key, _ in runs if name_of(key) != SENTINEL_NAME)
    assert set(visits.values()) == {1}
    profile = load_profile(out)
    assert len(profile.table) + len(profile.heads) + 8 == len(visits)  # 8 heads measured again


@pytest.mark.slow
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


@pytest.mark.slow
def test_ctrl_c_while_this_pc_is_measured_leaves_no_process(tmp_path: Path) -> None:
    store = tmp_path / "p.db"
    command = [*SIMULATED, "real", "profile", "--out", str(tmp_path / "p.json"), *FEW_HEADS]
    error = ctrl_c(command, lambda: count(store, "SELECT count(*) FROM run") >= 5)
    assert error.splitlines()[-1].startswith("mnasfpn: interrupted; ")
    assert len(stored_runs(store)) >= 5


@pytest.mark.slow
def test_ctrl_c_while_packed_kernels_are_measured_leaves_no_runner(tmp_path: Path) -> None:
    """At whatever moment: the runner of an operator profile is a process of its own each time."""
    here = ["env", f"TMPDIR={tmp_path}", *SIMULATED, "real", "profile", "--kernels", "packed"]
    for visits in range(1, 7):
        store = tmp_path / f"{visits}.db"
        ctrl_c(
            [*here, "--out", str(tmp_path / "p.json"), "--store", str(store), *FEW_HEADS],
            lambda store=store, visits=visits: count(store, "SELECT count(*) FROM run") >= visits,
        )
        assert not runners(tmp_path)


def runners(folder: Path) -> list[str]:
    """Command lines of running benchmarks whose files are in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(process.read_bytes().decode())
    return [line for line in found if "benchmark_runner" in line and str(folder) in line]


@pytest.mark.slow
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
        assert [t.score for t in trials[:2]] == [t.score for t in other.trials()[:2]]


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


@pytest.mark.slow
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


@pytest.mark.slow
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
