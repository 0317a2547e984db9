"""The state of a phone: clocks, heat, battery. Every probe gives a value or ``unreadable``.

Retail phones differ in what the adb shell may read, so nothing here fails: one command asks for
everything, and what does not come back is not there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .measurement import UNREADABLE, Telemetry
from .phone.adb import AdbDevice

_SECTION = "@@"
#: Zones that Qualcomm kernels list under thermal and that hold percent, volt or ampere.
_NOT_HEAT = re.compile(r"^(?:socd?|vbat|ibat|vph|bcl)|lvl\d*$|bcl|volt|current|adc", re.IGNORECASE)
_HAL_TEMPERATURE = re.compile(r"Temperature\{mValue=([^,]+), mType=\d+, mName=([^,]+),")


@dataclass(frozen=True, slots=True)
class Clusters:
    """Cores by highest clock: ``{kHz: cores}``, slowest cluster first; empty if unreadable."""

    cores_by_khz: dict[int, tuple[int, ...]]

    @property
    def biggest(self) -> tuple[int, ...]:
        return self.cores_by_khz[max(self.cores_by_khz)] if self.cores_by_khz else ()


def affinity_mask(cores: Iterable[int]) -> str:
    """The hexadecimal mask that ``taskset`` takes: cores 4 to 7 are ``f0``."""
    return f"{sum(1 << core for core in set(cores)):x}"


def read_clusters(device: AdbDevice, sysfs: str = "/sys") -> Clusters:
    """Group the cores by maximum frequency."""
    pattern = "cpu[0-9]*/cpufreq/cpuinfo_max_freq"
    text = device.shell(f"cd {sysfs}/devices/system/cpu && grep -H . {pattern}").stdout
    cores: dict[int, list[int]] = {}
    for line in text.splitlines():
        if found := re.fullmatch(r"cpu(\d+)/\S+:(\d+)", line.strip()):
            cores.setdefault(int(found[2]), []).append(int(found[1]))
    return Clusters({khz: tuple(sorted(cores[khz])) for khz in sorted(cores)})


def probe_command(sysfs: str = "/sys") -> str:
    """One shell command whose output ``read_telemetry`` understands."""
    policies = "policy[0-9]*/"
    names = ("scaling_cur_freq", "scaling_governor", "stats/time_in_state")
    clocks = " ".join(policies + name for name in names)
    return "\n".join(
        (
            f"cd {sysfs}/devices/system/cpu/cpufreq && grep -H . {clocks}; echo {_SECTION}zones",
            f"cd {sysfs}/class/thermal && grep -H . thermal_zone*/type thermal_zone*/temp; cd /",
            f"echo {_SECTION}load; cat /proc/loadavg; echo {_SECTION}thermalservice",
            f"dumpsys thermalservice; echo {_SECTION}battery; dumpsys battery",
        )
    )


def telemetry(device: AdbDevice, sysfs: str = "/sys") -> Telemetry:
    """Ask the phone for everything at once.

    Raises:
        TransientDeviceError, StableDeviceError: the phone cannot be reached.
    """
    return read_telemetry(device.shell(probe_command(sysfs)).stdout)


def read_telemetry(text: str) -> Telemetry:
    """Read the output of ``probe_command``, whatever part of it is there."""
    sections = _sections(text)
    clocks = _files(sections.get("clocks", ""))
    policies = sorted({path.split("/")[0] for path in clocks})
    thermal, battery = sections.get("thermalservice", ""), sections.get("battery", "")
    level = _found(r"^\s*level: (\d+)", battery)
    scale = _found(r"^\s*scale: (\d+)", battery) or "100"
    status = _found(r"^Thermal Status: (\d+)", thermal)
    powered = re.findall(r"^\s*\w+ powered: (true|false)", battery, re.MULTILINE)
    load = _found(r"^\s*([\d.]+) ", sections.get("load", ""))
    return Telemetry(
        frequency_mhz={
            policy: _scaled(clocks.get(f"{policy}/scaling_cur_freq", []), 1e-3)
            for policy in policies
        },
        governor={
            policy: next(iter(clocks.get(f"{policy}/scaling_governor", [])), UNREADABLE)
            for policy in policies
        },
        temperature_c=_zones(_files(sections.get("zones", "")))
        | _hal_temperatures(thermal)
        | _battery_temperature(battery),
        thermal_status=UNREADABLE if status is None else int(status),
        battery_percent=UNREADABLE
        if level is None or float(scale) == 0
        else 100 * float(level) / float(scale),
        charging="true" in powered if powered else UNREADABLE,
        load_average=UNREADABLE if load is None else _number(load),
        time_in_state={
            policy: _ticks(clocks.get(f"{policy}/stats/time_in_state", [])) for policy in policies
        },
    )


def _sections(text: str) -> dict[str, str]:
    first, *others = re.split(rf"^{_SECTION}(\w+)$", text.replace("\r", ""), flags=re.MULTILINE)
    return {"clocks": first} | dict(zip(others[::2], others[1::2], strict=True))


def _files(text: str) -> dict[str, list[str]]:
    """Lines ``path:content`` of ``grep -H .``, by path."""
    files: dict[str, list[str]] = {}
    for line in text.splitlines():
        path, found, content = line.partition(":")
        if found:
            files.setdefault(path.strip(), []).append(content.strip())
    return files


def _found(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else None


def _number(text: str) -> float | str:
    try:
        value = float(text)
    except ValueError:
        return UNREADABLE
    return value if math.isfinite(value) else UNREADABLE


def _scaled(lines: list[str], factor: float) -> float | str:
    value = _number(lines[0]) if lines else UNREADABLE
    return value if isinstance(value, str) else value * factor


def _ticks(lines: list[str]) -> dict[str, int]:
    """Rows ``kHz ticks``; a table that is not one is left out as a whole."""
    rows = [line.split() for line in lines]
    if any(len(row) != 2 or not all(word.isdecimal() for word in row) for row in rows):
        return {}
    return {khz: int(ticks) for khz, ticks in rows}


def _zones(files: dict[str, list[str]]) -> dict[str, float | str]:
    zones: dict[str, float | str] = {}
    for path, lines in files.items():
        zone, _, name = path.partition("/")
        if name == "type" and not _NOT_HEAT.search(lines[0]):
            zones[f"{zone} {lines[0]}"] = _celsius(files.get(f"{zone}/temp", []))
    return zones


def _celsius(lines: list[str]) -> float | str:
    """Kernels disagree on the unit: thousandths, tenths or whole degrees; -274 is no sensor."""
    value = _number(lines[0]) if lines else UNREADABLE
    if isinstance(value, str):
        return UNREADABLE
    for unit in (1.0, 10.0, 1000.0):
        if -40 <= value / unit <= 125:
            return value / unit
    return UNREADABLE


def _hal_temperatures(text: str) -> dict[str, float | str]:
    """What the thermal service hears from the hardware, for phones whose zones are shut."""
    current = text.partition("Current temperatures from HAL:")[2].partition("Current cooling")[0]
    return {f"hal {name}": _celsius([value]) for value, name in _HAL_TEMPERATURE.findall(current)}


def _battery_temperature(text: str) -> dict[str, float | str]:
    tenths = _found(r"^\s*temperature: (-?\d+)", text)
    return {} if tenths is None else {"battery": float(tenths) / 10}
