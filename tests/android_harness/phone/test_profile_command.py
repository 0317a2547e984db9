"""``mnasfpn profile`` as a person runs it: real processes, killed, continued, two at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from mnasfpn.benchmarks.packed_kernels import judged
from mnasfpn.benchmarks.virtual_phone import check
from mnasfpn.latency.fitting.fit import fit
from mnasfpn.latency.profile.device_profile import load_profile
from mnasfpn.latency.profiling.profile_options import ProfileOptions
from mnasfpn.latency.profiling.session import SENTINEL_NAME
from mnasfpn.latency.profiling.store import MeasurementStore, name_of
from mnasfpn.tests.android_harness.phone.adbd_phone import Phone
from mnasfpn.tests.android_harness.phone.virtual_arm import (
    CPUS,
    VirtualCpu,
    make_launcher,
    what_is_missing,
)
from mnasfpn.tests.android_harness.phone.virtual_phone import virtual_phone

pytestmark = [pytest.mark.phone, pytest.mark.slow, pytest.mark.xdist_group("phone")]
if missing := what_is_missing():
    pytest.skip(missing, allow_module_level=True)

#: The smallest thing the command can be asked for: one pack, and ten heads of a tiny image.
SMALL = ProfileOptions(device="phone", input_size=64, calibration_heads=5, validation_heads=5)
PLAN = SMALL.plan()


@cache
def names() -> frozenset[str]:
    """Of everything that is measured but the sentinel."""
    return frozenset((*PLAN.graphs, *(packed.name for packed in PLAN.packs)))


class Row(NamedTuple):
    id: int
    device: str
    key: str
    run: str
    at: str


Start = Callable[[VirtualCpu], Phone]


@pytest.fixture
def start(adb_server: int, tmp_path: Path) -> Iterator[Start]:
    import adbutils

    phones: list[Phone] = []

    def started(cpu: VirtualCpu) -> Phone:
        phones.append(virtual_phone(tmp_path / f"phone{len(phones)}", cpu).start())
        adbutils.AdbClient().connect(phones[-1].serial, timeout=10)
        return phones[-1]

    yield started
    for phone in phones:
        adbutils.AdbClient().disconnect(phone.serial)
        phone.stop()


def command(serial: str, cpu: VirtualCpu, out: Path, store: Path) -> subprocess.Popen[str]:
    asked = replace(SMALL, device=serial)
    words = ("--binary", make_launcher(cpu), "--out", out, "--store", store)
    return subprocess.Popen(
        [sys.executable, "-m", "mnasfpn", "profile", *asked.words, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def finished(process: subprocess.Popen[str]) -> str:
    said, complained = process.communicate(timeout=300)
    assert process.returncode == 0, complained
    return said


def rows(store: Path) -> list[Row]:
    if not store.exists():
        return []
    query = (
        "SELECT run.id, info, key, run, recorded FROM run JOIN device ON device.id = run.device "
        "ORDER BY run.id"
    )
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        try:
            return [Row(*row) for row in database.execute(query)]
        except sqlite3.OperationalError:  # its tables are not there yet
            return []


def visits(found: Sequence[Row]) -> Counter[str]:
    named = (name_of(row.key) or row.key for row in found)
    return Counter(name for name in named if not name.startswith(SENTINEL_NAME))


def wait_for(process: subprocess.Popen[str], store: Path, rows_stored: int) -> None:
    deadline = time.monotonic() + 300
    while len(rows(store)) < rows_stored:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "kills", [[10], pytest.param([1, 10], marks=pytest.mark.proof)], ids=["once", "twice"]
)
def test_killed_it_goes_on_measures_nothing_twice_and_loses_nothing(
    kills: list[int], start: Start, tmp_path: Path
) -> None:
    """In the middle of the heads, or of the pack as well; ends in a good profile.

    Args:
        kills: rows that are stored when it is killed; the first row is the sentinel's.
    """
    cpu = CPUS["cortex-a76"]
    phone, out, store = start(cpu), tmp_path / "p.json", tmp_path / "p.db"
    before: list[Row] = []
    for rows_stored in kills:
        process = command(phone.serial, cpu, out, store)
        wait_for(process, store, rows_stored)
        process.kill()
        process.communicate()
        kept = rows(store)
        assert kept[: len(before)] == before
        assert visits(kept).total() < len(names())
        assert not out.exists()
        before = kept
    said = finished(command(phone.serial, cpu, out, store))
    assert "simulated" in said
    after = rows(store)
    assert after[: len(before)] == before
    assert visits(after) == dict.fromkeys(names(), 1)
    assert phone.becomes_idle()
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "0"

    assert finished(command(phone.serial, cpu, out, store)) == said
    assert rows(store) == after
    with MeasurementStore(store) as runs:
        way = judged(fit(load_profile(out)), PLAN, runs)
    check(way)
    assert way.files == 1
    assert 0 < way.device_s < 300


@pytest.mark.proof
def test_two_phones_at_once_one_campaign_each(start: Start, tmp_path: Path) -> None:
    """Two processes, two phones, one store: each phone's rows are as if it had been alone."""
    cpus = (CPUS["cortex-a76"], CPUS["cortex-a53"])
    store = tmp_path / "both.db"
    outs = [tmp_path / f"{cpu.name}.json" for cpu in cpus]
    processes = [
        command(start(cpu).serial, cpu, out, store) for cpu, out in zip(cpus, outs, strict=True)
    ]
    for process in processes:
        finished(process)
    of_device = {
        name: [row for row in rows(store) if f"simulated {name}" in row.device]
        for name in ("cortex-a76", "cortex-a53")
    }
    for name, out in zip(of_device, outs, strict=True):
        assert visits(of_device[name]) == dict.fromkeys(names(), 1)
        assert name in load_profile(out).device.soc
    order = [row.device for row in rows(store)]
    assert order != sorted(order)
    assert order != sorted(order, reverse=True)  # they did work at the same time
    fast, slow = ({row.kernel: row.latency_us for row in load_profile(out).table} for out in outs)
    assert fast.keys() == slow.keys()
    assert sum(fast.values()) < sum(slow.values())
