"""This PC as a device: which core it takes, what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnasfpn.android_harness.host import host
from mnasfpn.android_harness.host.host import HostDevice
from mnasfpn.android_harness.measurement import UNREADABLE, CoreClock
from mnasfpn.errors import InvalidInput


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_core_choice_is_fixed_and_takes_a_fast_core(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "_allowed_cores", lambda: {0, 1, 2, 3})
    assert HostDevice(sys_root=tmp_path).core == 3  # speeds unreadable: the last
    for core, khz in enumerate((5_000_000, 5_000_000, 3_000_000, 3_000_000)):
        _write(tmp_path / f"devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq", f"{khz}\n")
    assert HostDevice(sys_root=tmp_path).core == 1
    assert HostDevice(core=2, sys_root=tmp_path).core == 2
    for core, capacity in enumerate((400, 400, 1024, 1024)):  # of one clock, or capped below it
        _write(tmp_path / f"devices/system/cpu/cpu{core}/cpu_capacity", f"{capacity}\n")
    assert HostDevice(sys_root=tmp_path).core == 3


def test_core_that_may_not_be_used_is_refused(monkeypatch):
    monkeypatch.setattr(host, "_allowed_cores", lambda: {1, 3})
    with pytest.raises(InvalidInput, match=r"core 2; this process may use \[1, 3\]"):
        HostDevice(core=2)


def test_telemetry_of_a_bare_system_is_unreadable_not_an_error(tmp_path):
    device = HostDevice(sys_root=tmp_path)
    seen = device.telemetry()
    name = f"cpu{device.core}"
    assert seen.frequency_mhz == {name: UNREADABLE}
    assert seen.governor == {name: UNREADABLE}
    assert seen.temperature_c == {}
    assert seen.battery_percent == seen.charging == UNREADABLE


def test_telemetry_reads_what_is_there(tmp_path):
    device = HostDevice(sys_root=tmp_path)
    name = f"cpu{device.core}"
    cpufreq = tmp_path / "devices/system/cpu" / name / "cpufreq"
    _write(cpufreq / "scaling_cur_freq", "3200000\n")
    _write(cpufreq / "scaling_governor", "powersave\n")
    _write(tmp_path / "class/thermal/thermal_zone0/type", "x86_pkg_temp\n")
    _write(tmp_path / "class/thermal/thermal_zone0/temp", "54500\n")
    _write(tmp_path / "class/thermal/thermal_zone1/type", "broken\n")
    _write(tmp_path / "class/power_supply/BAT0/capacity", "81\n")
    _write(tmp_path / "class/power_supply/BAT0/status", "Discharging\n")
    seen = device.telemetry()
    assert seen.frequency_mhz == {name: pytest.approx(3200)}
    assert seen.governor == {name: "powersave"}
    assert seen.temperature_c == {
        "thermal_zone0 x86_pkg_temp": pytest.approx(54.5),
        "thermal_zone1 broken": UNREADABLE,
    }
    assert (seen.battery_percent, seen.charging) == (81, False)


def test_the_clock_of_the_pinned_core_is_its_mean_between_two_readings(tmp_path):
    device = HostDevice(sys_root=tmp_path)
    cpufreq = tmp_path / f"devices/system/cpu/cpu{device.core}/cpufreq"
    assert device.clocks_since(device.clock()) == ()
    _write(cpufreq / "scaling_cur_freq", "3200000\n")
    assert device.clocks_since(device.clock()) == ()  # one moment's clock; the probe knows more
    _write(cpufreq / "stats/time_in_state", "800000 12\n3200000 900\n")
    before = device.clock()
    _write(cpufreq / "stats/time_in_state", "800000 22\n3200000 930\n")
    assert device.clocks_since(before) == (CoreClock((device.core,), 2600.0, "time_in_state"),)


def test_describe_says_what_must_agree_between_measurements():
    info = HostDevice().describe()
    assert info.serial == "host"
    assert info.threads == 1
    assert info.provenance == "measured"
    assert info.runtime.startswith(("ai-edge-litert ", "tflite-runtime "))
    assert info == HostDevice().describe()
