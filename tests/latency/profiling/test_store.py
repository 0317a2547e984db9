from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.android_harness.measurement import DeviceInfo, OpTiming, Run, Telemetry
from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.latency.profiling.store import MeasurementStore, digest, name_of, run_key

DEVICE = DeviceInfo("A1", "Pixel", "SoC", "14", "arm64-v8a", "benchmark_model", cores=(6, 7))
RUN = Run(
    round=2,
    position=5,
    samples_us=(10.5, 11.0),
    init_us=900.0,
    cpu_per_wall=0.99,
    before=Telemetry(frequency_mhz={"cpu6": 2400.0, "cpu7": "unreadable"}, thermal_status=0),
    op_profile=(OpTiming("Convolution", "conv", 10.0),),
    clock_us=3.0,
)


def test_runs_come_back_as_they_were(tmp_path: Path) -> None:
    failed = Run(round=0, position=1, error="out of memory")
    path = tmp_path / "m.db"
    with MeasurementStore(path) as store:
        store.append(DEVICE, "conv", RUN)
        store.append(DEVICE, "add", failed)
    with MeasurementStore(path) as store:
        store.append(DEVICE, "conv", failed)
        assert store.devices() == (DEVICE,)
        assert store.runs(DEVICE) == {"conv": (RUN, failed), "add": (failed,)}


def test_two_devices_side_by_side(tmp_path: Path) -> None:
    other = replace(DEVICE, serial="B2")
    path = tmp_path / "m.db"
    with MeasurementStore(path) as first, MeasurementStore(path) as second:
        for number in range(20):
            first.append(DEVICE, "conv", replace(RUN, round=number))
            second.append(other, "conv", replace(RUN, round=100 + number))
        assert [run.round for run in second.runs(DEVICE)["conv"]] == list(range(20))
        assert [run.round for run in first.runs(other)["conv"]] == list(range(100, 120))
        assert first.runs(replace(DEVICE, runtime="another")) == {}


WRITER = """
import sys
from mnasfpn.android_harness.measurement import DeviceInfo, Run
from mnasfpn.latency.profiling.store import MeasurementStore, digest, name_of, run_key
device = DeviceInfo("A1", "Pixel", "SoC", "14", "arm64", "tool")
with MeasurementStore(sys.argv[1]) as store:
    for number in range(10**9):
        store.append(device, "conv", Run(number, 0, (1.0,) * 200))
        print(number, flush=True)
"""


def test_what_was_appended_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    while int(child.stdout.readline()) < 50:
        pass
    time.sleep(0.01)  # somewhere in the middle of an append
    os.kill(child.pid, signal.SIGKILL)
    confirmed = [int(line) for line in child.stdout if line.endswith("\n")]
    child.wait()
    child.stdout.close()
    with MeasurementStore(path) as store:
        (device,) = store.devices()
        rounds = [run.round for run in store.runs(device)["conv"]]
        store.append(device, "conv", RUN)
    assert rounds == list(range(len(rounds)))
    assert len(rounds) > max([50, *confirmed])


def test_files_that_are_not_stores_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("these are no measurements, " * 50)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE song (title TEXT)")
    database.close()
    for path, message in ((text, "not a measurement store"), (foreign, "something else")):
        before = path.read_bytes()
        with pytest.raises(InvalidInput, match=message):
            MeasurementStore(path)
        assert path.read_bytes() == before


def test_a_store_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    MeasurementStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(InvalidInput, match="schema 9, this version reads 1"):
        MeasurementStore(path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with MeasurementStore(path) as store:
        for number in range(200):
            store.append(DEVICE, f"kernel {number}", RUN)
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = os.urandom(len(damaged) - 4096)
    path.write_bytes(damaged)
    with (
        pytest.raises(InvalidInput, match=r"m\.db is not a measurement store, or is damaged"),
        MeasurementStore(path) as store,
    ):
        store.runs(DEVICE)


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with MeasurementStore(path) as store:
        store.append(DEVICE, "conv", RUN)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE run SET run = replace(run, '10.5', '\"fast\"')")
    database.close()
    with (
        MeasurementStore(path) as store,
        pytest.raises(InvalidInput, match=r"samples_us"),
    ):
        store.runs(DEVICE)


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="what was stored before is kept"):
        MeasurementStore(tmp_path / "no" / "such" / "folder.db")


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with MeasurementStore(path) as store:
        store.append(DEVICE, "conv", RUN)
        # SQLite's own limit on the file's size stands in for the disk's.
        store._database.execute("PRAGMA max_page_count = 8")
        big = replace(RUN, samples_us=(1.0,) * 10_000)
        with pytest.raises(JobFailed, match="full"):
            store.append(DEVICE, "conv", big)
        kept = store.runs(DEVICE)["conv"]
    assert kept == (RUN,)


def test_visits_last_from_the_one_before_to_their_own_end(tmp_path: Path) -> None:
    """Also over two campaigns: the pause between them ends with a sentinel, which is not asked."""
    with MeasurementStore(tmp_path / "m.db") as store:
        for name in ("sentinel", "a", "b", "sentinel", "a"):
            store.append(DEVICE, run_key(name, digest(b"its file")), RUN)
        for number, at_s in enumerate((1.0, 3.5, 4.0, 59.0, 59.25)):
            store._database.execute(
                "UPDATE run SET recorded = ? WHERE id = ?",
                (f"2026-01-01T00:00:{at_s:06.3f}Z", number + 1),
            )
        assert store.device_s(DEVICE, {"a"}) == 2.5 + 0.25
        assert store.device_s(DEVICE, {"a", "b"}) == 3.0 + 0.25
        assert store.device_s(replace(DEVICE, serial="another"), {"a"}) == 0


def test_what_is_added_later_is_found_and_the_rest_not_read_again(tmp_path: Path) -> None:
    other = replace(DEVICE, serial="B2")
    path = tmp_path / "m.db"
    with MeasurementStore(path) as mine, MeasurementStore(path) as beside:
        mine.append(DEVICE, "conv", RUN)
        (first,) = mine.runs(DEVICE)["conv"]
        assert mine.runs(other) == {}
        beside.append(DEVICE, "add", replace(RUN, round=3))
        beside.append(other, "conv", replace(RUN, round=4))
        mine.append(DEVICE, "conv", replace(RUN, round=5))
        found = mine.runs(DEVICE)
        assert [[run.round for run in runs] for runs in found.values()] == [[2, 5], [3]]
        assert found["conv"][0] is first
        assert [run.round for run in mine.runs(other)["conv"]] == [4]
        assert beside.runs(DEVICE) == found
        found.pop("conv")  # the caller's own
        assert set(mine.runs(DEVICE)) == {"conv", "add"}


def test_a_damaged_row_stays_an_error_and_those_before_it_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with MeasurementStore(path) as store:
        for number in range(3):
            store.append(DEVICE, "conv", replace(RUN, round=number))
        store._database.execute("UPDATE run SET run = '{}' WHERE id = 2")
        for _ in range(2):
            with pytest.raises(InvalidInput, match="damaged Run"):
                store.runs(DEVICE)
        (text,) = store._database.execute("SELECT run FROM run WHERE id = 3").fetchone()
        store._database.execute("UPDATE run SET run = ? WHERE id = 2", (text,))
        assert [run.round for run in store.runs(DEVICE)["conv"]] == [0, 2, 2]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=80), st.binary(max_size=40), st.binary(max_size=40))
def test_a_key_tells_the_name_and_the_file(name: str, one: bytes, other: bytes) -> None:
    keys = [run_key(name, digest(content)) for content in (one, other)]
    assert [name_of(key) for key in keys] == [name, name]
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.parametrize("key", ["mnasfpn/1/0/a1b2c3d4", "pack 0123456789ab", "sentinel", ""])
def test_a_key_of_0_1_0_tells_no_file(key: str) -> None:
    assert name_of(key) is None
