"""Which of a phone's readings are temperatures, and in which unit they are.

Kernels list volts, amperes and percent of the battery among their thermal zones, Android's thermal
service lists them among its temperatures, and drivers disagree on the unit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from .measurement import UNREADABLE

#: Outside of these no sensor of a phone reads: what says so is no sensor (-274 is a usual sign).
COLDEST_C, HOTTEST_C = -40.0, 125.0
#: A reading between these in a unit speaks for it: no number lies between them in two units.
_USUAL_C = (10.0, 100.0)
#: Raw steps in a degree. Linux documents thousandths; vendors' older kernels have the others too.
_UNITS = (1000, 10, 1)

#: Types of android.hardware.thermal's TemperatureType that are degrees: CPU, GPU, battery, skin,
#: USB port, power amplifier; NPU to POGO (AIDL version 3); Samsung's modem, charger, Wi-Fi, flash,
#: ambient. Not -1, unknown, and not 6 to 8: volts, amperes and percent of the battery.
HEAT_TYPES = frozenset((*range(6), *range(9, 20), *range(50, 55)))
_HAL_TEMPERATURE = re.compile(r"Temperature\{mValue=([^,]+), mType=(-?\d+), mName=([^,]*),")

#: Words of a zone's name that are no heat: battery voltage and current, phase voltage, current
#: limiters and their levels.
_ELECTRIC = re.compile(
    r"[vi]bat\w*|[vi]bus\w*|vph\w*|bcl\w*|lvl\d*|volt(?:age)?|curr(?:ent)?|socd|percent|capacity"
    r"|vdroop\d*|ocp\w*|batoilo\d*|smpl"
)
#: ``soc`` is the state of charge alone or after these; else the system on a chip.
_BATTERY = re.compile(r"bat\w*|bms|fg|pm\w*")


def is_heat(zone: str) -> bool:
    """Whether a thermal zone of this type has a temperature, by the words of its name.

    ``soc-thermal``, ``soc_max`` and ``xo-therm-adc`` have; ``soc``, ``pm8150b-vbat-lvl0`` have not.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", zone.lower()) if word]
    *before, last = words or [""]
    charge = last == "soc" and all(map(_BATTERY.fullmatch, before))
    return not charge and not any(map(_ELECTRIC.fullmatch, words))


class Zones:
    """The thermal zones of one phone, whose kernel has one unit for all of them.

    Which one is decided by all readings so far, not by a zone's own: 120 is 12.0 degrees beside
    415 and 120 beside 41.
    """

    def __init__(self) -> None:
        self._votes: Counter[int] = Counter()

    def celsius(self, raw: Mapping[str, float | str]) -> dict[str, float | str]:
        """Readings of one moment in degrees, or ``unreadable``: no sensor, or of another unit."""
        numbers = {name: value for name, value in raw.items() if not isinstance(value, str)}
        self._votes.update(unit for value in numbers.values() for unit in _usual_units(value))
        unit = max(_UNITS, key=lambda unit: self._votes[unit])
        return {
            name: _in_unit(numbers[name], unit) if name in numbers else UNREADABLE for name in raw
        }


def hal_temperatures(dump: str) -> dict[str, float | str]:
    """What ``dumpsys thermalservice`` hears from the hardware, in degrees by its interface."""
    current = dump.partition("Current temperatures from HAL:")[2].partition("Current cooling")[0]
    return {
        f"hal {name}": plausible(number(value))
        for value, kind, name in _HAL_TEMPERATURE.findall(current)
        if int(kind) in HEAT_TYPES
    }


def thermal_status(dump: str) -> int | str:
    """Android's throttling status; unknown where nobody would tell Android of throttling.

    Without a thermal HAL, and with version 1.0 of it, which never calls back, the status is 0 for
    ever; an overridden one is what somebody typed.
    """
    found = re.search(r"^\s*Thermal Status: (\d+)", dump, re.MULTILINE)
    deaf = re.search(
        r"^\s*(HAL Ready: false|IsStatusOverride: true|ThermalHAL 1\.0 connected)",
        dump,
        re.MULTILINE,
    )
    return int(found[1]) if found and not deaf else UNREADABLE


def number(text: str) -> float | str:
    """A finite number, or ``unreadable``."""
    try:
        value = float(text)
    except ValueError:
        return UNREADABLE
    return value if math.isfinite(value) else UNREADABLE


def _usual_units(value: float) -> tuple[int, ...]:
    low, high = _USUAL_C
    return tuple(unit for unit in _UNITS if low <= value / unit < high)


def _in_unit(value: float, unit: int) -> float | str:
    """Unreadable too is what would be unusually cold in the phone's unit and usual in another."""
    celsius = value / unit
    foreign = celsius < _USUAL_C[0] and _usual_units(value)
    return UNREADABLE if foreign else plausible(celsius)


def plausible(celsius: float | str) -> float | str:
    """What a sensor can read, or ``unreadable``."""
    readable = not isinstance(celsius, str) and COLDEST_C <= celsius <= HOTTEST_C
    return celsius if readable else UNREADABLE
