"""The state of a phone: clocks, heat, battery. Every probe gives a value or ``unreadable``.

Retail phones differ in what the adb shell may read, so nothing here fails: one command asks for
everything, and what does not come back is not there.
"""

from __future__ import annotations

import re
import shlex

from .heat import Zones, hal_temperatures, is_heat, number, plausible, thermal_status
from .measurement import UNREADABLE, Telemetry
from .phone.adb import AdbDevice

_SECTION = "@@"


def probe_command(sysfs: str = "/sys") -> str:
    """One shell command whose output ``read_telemetry`` understands."""
    cpus, thermal = (shlex.quote(f"{sysfs}/{at}") for at in ("devices/system/cpu", "class/thermal"))
    clocks = "cpu[0-9]*/cpufreq/scaling_cur_freq cpu[0-9]*/cpufreq/scaling_governor"
    return "\n".join(
        (
            f"cd {cpus} && grep -H . {clocks}; echo {_SECTION}zones",
            f"cd {thermal} && grep -H . thermal_zone*/type thermal_zone*/temp; cd /",
            f"echo {_SECTION}load; cat /proc/loadavg; echo {_SECTION}thermalservice",
            f"dumpsys thermalservice; echo {_SECTION}battery; dumpsys battery",
        )
    )


class PhoneState:
    """Asks one phone for its state, as often as wanted; learns meanwhile the unit of its zones."""

    def __init__(self, device: AdbDevice, sysfs: str = "/sys") -> None:
        self._device, self._command = device, probe_command(sysfs)
        self._zones = Zones()

    def now(self) -> Telemetry:
        """Everything at once.

        Raises:
            TransientDeviceError, StableDeviceError: the phone cannot be reached.
        """
        return read_telemetry(self._device.shell(self._command).stdout, self._zones)


def read_telemetry(text: str, zones: Zones | None = None) -> Telemetry:
    """Read the output of ``probe_command``, whatever part of it is there.

    Args:
        zones: of the phone; left out, the unit of its zones is decided by this text alone.
    """
    sections = _sections(text)
    clocks = _files(sections.get("clocks", ""))
    cores = sorted({path.split("/")[0] for path in clocks}, key=lambda name: (len(name), name))
    thermal, battery = sections.get("thermalservice", ""), sections.get("battery", "")
    level = _found(r"^\s*level: (\d+)", battery)
    scale = _found(r"^\s*scale: (\d+)", battery) or "100"
    powered = re.findall(r"^\s*\w+ powered: (true|false)", battery, re.MULTILINE)
    load = _found(r"^\s*([\d.]+) ", sections.get("load", ""))
    return Telemetry(
        frequency_mhz={
            core: _mhz(clocks.get(f"{core}/cpufreq/scaling_cur_freq", [])) for core in cores
        },
        governor={
            core: next(iter(clocks.get(f"{core}/cpufreq/scaling_governor", [])), UNREADABLE)
            for core in cores
        },
        temperature_c=(zones or Zones()).celsius(_heat_zones(_files(sections.get("zones", ""))))
        | hal_temperatures(thermal)
        | _battery_temperature(battery),
        thermal_status=thermal_status(thermal),
        battery_percent=UNREADABLE
        if level is None or float(scale) == 0
        else 100 * float(level) / float(scale),
        charging="true" in powered if powered else UNREADABLE,
        load_average=UNREADABLE if load is None else number(load),
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


def _mhz(lines: list[str]) -> float | str:
    khz = number(lines[0]) if lines else UNREADABLE
    return khz if isinstance(khz, str) else khz / 1e3


def _heat_zones(files: dict[str, list[str]]) -> dict[str, float | str]:
    """What the zones that have a temperature read, in the unit of the phone."""
    return {
        f"{zone} {lines[0]}": number(next(iter(files.get(f"{zone}/temp", [])), ""))
        for path, lines in files.items()
        for zone, _, name in (path.partition("/"),)
        if name == "type" and is_heat(lines[0])
    }


def _battery_temperature(text: str) -> dict[str, float | str]:
    tenths = _found(r"^\s*temperature: (-?\d+)", text)
    return {} if tenths is None else {"battery": plausible(float(tenths) / 10)}
