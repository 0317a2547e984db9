"""Telemetry from what phones print, whole, partial and senseless."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.android_harness.measurement import UNREADABLE, Telemetry
from mnasfpn.android_harness.phone.adb import ShellResult
from mnasfpn.android_harness.telemetry import PhoneState, read_telemetry

WHOLE = """cpu0/cpufreq/scaling_cur_freq:1766400
cpu10/cpufreq/scaling_cur_freq:2457600
cpu4/cpufreq/scaling_cur_freq:<unsupported>
cpu0/cpufreq/scaling_governor:schedutil
cpu4/cpufreq/scaling_governor:performance
@@zones
thermal_zone0/type:cpu-1-0
thermal_zone1/type:battery
thermal_zone2/type:soc
thermal_zone3/type:vbat-lvl0
thermal_zone4/type:tsens_tz_sensor9
thermal_zone5/type:soc-thermal
thermal_zone6/type:gpu
thermal_zone0/temp:41500
thermal_zone1/temp:285
thermal_zone2/temp:87
thermal_zone3/temp:4200
thermal_zone4/temp:-274000
thermal_zone5/temp:43000
@@load
3.41 2.90 2.75 2/1234 5678
@@thermalservice
IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=99.0, mType=3, mName=stale, mStatus=0}
Current temperatures from HAL:
	Temperature{mValue=33.25, mType=3, mName=skin, mStatus=0}
	Temperature{mValue=NaN, mType=0, mName=broken, mStatus=0}
	Temperature{mValue=60.0, mType=8, mName=socd, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
@@battery
Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 87
  scale: 100
  temperature: 285
"""


def test_everything_readable() -> None:
    assert read_telemetry(WHOLE) == Telemetry(
        frequency_mhz={"cpu0": 1766.4, "cpu4": UNREADABLE, "cpu10": pytest.approx(2457.6)},  # type: ignore[dict-item]
        governor={"cpu0": "schedutil", "cpu4": "performance", "cpu10": UNREADABLE},
        temperature_c={
            "thermal_zone0 cpu-1-0": 41.5,
            "thermal_zone1 battery": UNREADABLE,  # tenths, on a phone of thousandths
            "thermal_zone4 tsens_tz_sensor9": UNREADABLE,  # no sensor there
            "thermal_zone5 soc-thermal": 43.0,
            "thermal_zone6 gpu": UNREADABLE,  # shut
            "hal skin": 33.25,
            "hal broken": UNREADABLE,
            "battery": 28.5,
        },
        thermal_status=1,
        battery_percent=87,
        charging=True,
        load_average=3.41,
    )


def test_windows_line_ends() -> None:
    assert read_telemetry(WHOLE.replace("\n", "\r\n")) == read_telemetry(WHOLE)


def test_a_phone_that_lets_nothing_be_read() -> None:
    text = (
        "@@zones\n@@load\ncat: /proc/loadavg: Permission denied\n@@thermalservice\n"
        "Can't find service: thermalservice\n@@battery\nCan't find service: battery\n"
    )
    assert read_telemetry(text) == Telemetry()
    assert read_telemetry("") == Telemetry()


def test_the_battery_of_a_phone_whose_scale_is_not_a_hundred() -> None:
    text = WHOLE.replace("scale: 100", "scale: 200").replace(
        "USB powered: true", "USB powered: false"
    )
    assert read_telemetry(text).battery_percent == 43.5
    assert read_telemetry(text).charging is False


def test_a_battery_without_a_sensor() -> None:
    text = WHOLE.replace("temperature: 285", "temperature: -2147483648")
    assert read_telemetry(text).temperature_c["battery"] == UNREADABLE


def test_the_unit_of_a_phone_is_learnt_from_all_that_it_said() -> None:
    """Later there is one zone left, whose 120 is 12 degrees."""

    class Adb:
        answers = (
            "@@zones\nthermal_zone0/type:cpu\nthermal_zone1/type:gpu\nthermal_zone0/temp:415\n"
            "thermal_zone1/temp:390\n",
            "@@zones\nthermal_zone0/type:cpu\nthermal_zone0/temp:99\n",
            "@@zones\nthermal_zone0/type:cpu\nthermal_zone0/temp:120\n",
        )

        def __init__(self) -> None:
            self.left = iter(self.answers)

        def shell(self, command: str) -> ShellResult:
            return ShellResult(0, next(self.left), "")

    state = PhoneState(Adb())  # type: ignore[arg-type]
    assert state.now().temperature_c == {"thermal_zone0 cpu": 41.5, "thermal_zone1 gpu": 39.0}
    assert state.now().temperature_c == {"thermal_zone0 cpu": UNREADABLE}  # 9.9 or 99
    assert state.now().temperature_c == {"thermal_zone0 cpu": 12.0}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_answers_never_crash(data: st.DataObject) -> None:
    lines = WHOLE.split("\n")
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "junk", "cut", "number"]))
        if change == "drop":
            del lines[at]
        elif change == "junk":
            lines[at] = data.draw(st.text(max_size=30))
        elif change == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, 20))]
        else:
            lines[at] = lines[at].replace(
                "1", data.draw(st.sampled_from(["", "-", "nan", "1e999"]))
            )
    seen = read_telemetry("\n".join(lines))
    numbers = [*seen.temperature_c.values(), *seen.frequency_mhz.values(), seen.load_average]
    assert all(isinstance(value, float) or value == UNREADABLE for value in numbers)
    assert all(value == value for value in numbers)  # not NaN
    assert all(-40 <= v <= 125 for v in seen.temperature_c.values() if not isinstance(v, str))
