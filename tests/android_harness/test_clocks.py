"""The clock of a run by hand: of its own cores, of its own time, or unknown."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.android_harness.clocks import (
    ClockReading,
    clock_command,
    core_clocks,
    mean_mhz,
    read_clock,
)
from mnasfpn.android_harness.measurement import CoreClock


def write(cpus: Path, core: int, name: str, text: str) -> None:
    path = cpus / f"cpu{core}/cpufreq" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read(sysfs: Path, *cores: int) -> str:
    command = clock_command(cores, str(sysfs))
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout


def test_of_the_pinned_cores_alone_and_of_the_time_between(tmp_path: Path) -> None:
    """The big cluster throttles while the little one runs at its own top clock since boot."""
    cpus = tmp_path / "devices/system/cpu"
    for core in (0, 4, 5):
        write(cpus, core, "stats/time_in_state", "600000 100\n2400000 9000\n")
    before = read(tmp_path, 4, 5)
    write(cpus, 0, "stats/time_in_state", "600000 100\n2400000 9100\n")
    for core in (4, 5):
        write(cpus, core, "stats/time_in_state", "600000 150\n2400000 9050\n")
    assert core_clocks(before, read(tmp_path, 4, 5)) == (
        CoreClock((4, 5), pytest.approx(1500), "time_in_state"),
    )


def test_in_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    sysfs = tmp_path / "a 'b' $c"
    write(sysfs / "devices/system/cpu", 1, "scaling_cur_freq", "800000\n")
    text = read(sysfs, 1)
    assert core_clocks(text, text) == (CoreClock((1,), 800.0, "scaling_cur_freq"),)


@pytest.mark.parametrize(
    "table",
    ["", "600000 100\n2400000 9000", "cpufreq stats disabled", "600000 99\n2400000 9100"],
    ids=["none", "stood still", "no table", "began anew"],
)
def test_without_a_usable_table_it_is_the_clock_right_after_and_says_so(
    tmp_path: Path, table: str
) -> None:
    cpus = tmp_path / "devices/system/cpu"
    write(cpus, 7, "stats/time_in_state", "600000 100\n2400000 9000\n" if table else "")
    write(cpus, 7, "scaling_cur_freq", "600000\n")  # a core at rest
    before = read(tmp_path, 7)
    write(cpus, 7, "stats/time_in_state", table)
    write(cpus, 7, "scaling_cur_freq", "2400000\n")
    assert core_clocks(before, read(tmp_path, 7)) == (CoreClock((7,), 2400.0, "scaling_cur_freq"),)


def test_what_cannot_be_read_is_not_there(tmp_path: Path) -> None:
    cpus = tmp_path / "devices/system/cpu"
    assert core_clocks(read(tmp_path, 4), read(tmp_path, 4)) == ()
    write(cpus, 4, "scaling_cur_freq", "<unsupported>\n")
    assert core_clocks(read(tmp_path, 4), read(tmp_path, 4)) == ()
    # A core that was on at one of the two ends only.
    write(cpus, 5, "scaling_cur_freq", "2400000\n")
    assert core_clocks(read(tmp_path, 4), read(tmp_path, 4, 5)) == ()
    assert core_clocks(read(tmp_path, 4, 5), read(tmp_path, 4)) == ()


@given(st.dictionaries(st.integers(100_000, 4_000_000), st.integers(1, 10**6), min_size=1))
def test_a_mean_lies_between_the_clocks_that_were_used(spent: dict[int, int]) -> None:
    since_boot = {khz: 7 * khz for khz in spent}
    after = {khz: since_boot[khz] + ticks for khz, ticks in spent.items()}
    found = mean_mhz(ClockReading(since_boot), ClockReading(after))
    assert found
    assert min(spent) / 1e3 - 1e-6 <= found[0] <= max(spent) / 1e3 + 1e-6
    assert found[1] == "time_in_state"


def test_a_table_that_is_not_one_is_left_out_as_a_whole() -> None:
    assert read_clock(["2400000 9", "600000 many"], "") == ClockReading()
    assert read_clock([], "2400000\n").khz == 2_400_000
