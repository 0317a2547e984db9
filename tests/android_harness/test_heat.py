"""Which readings are temperatures, in which unit, and when nobody would tell of throttling."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.android_harness.heat import Zones, hal_temperatures, is_heat, thermal_status
from mnasfpn.android_harness.measurement import UNREADABLE

HEAT = """
    soc-thermal soc_max soc_therm soc1 xo-therm-adc msm-therm-adc quiet-therm-adc xo_therm
    quiet_therm cpu-1-0-usr cpuss-0-lowf tsens_tz_sensor9 pm8150b_tz pm8994_tz battery bms
    battery_zte mtktscpu mtktsbattery BIG LITTLE G3D camera-step modem-mmw0-usr ddr-usr aoss0-usr
    usb_port_temp charger_skin_therm vadc-therm x86_pkg_temp acpitz
"""
NO_HEAT = """
    soc socd SOC bms-soc battery_soc pmi632-soc vbat ibat vbat_low vbat_too_low vbat-lvl0 ibat-high
    ibat-vhigh pm8150b-vbat-lvl0 pm8150b-ibat-lvl1 pm8150b-bcl-lvl0 pm6150l-bcl-lvl2 pm-vbat-adc
    bcl-2s-ibat-lvl0 vph_pwr vph-lvl0 bcl_voltage batt_current vdroop1 soft_ocp_cpu1 batoilo
"""


@pytest.mark.parametrize("zone", HEAT.split())
def test_zones_of_real_heat(zone: str) -> None:
    assert is_heat(zone)


@pytest.mark.parametrize("zone", NO_HEAT.split())
def test_zones_of_volts_amperes_and_percent(zone: str) -> None:
    assert not is_heat(zone)


DUMP = """IsStatusOverride: {override}
Thermal Status: 0
Cached temperatures:
	Temperature{{mValue=99.0, mType=0, mName=stale, mStatus=0}}
HAL Ready: {ready}
HAL connection:
	ThermalHAL {version} connected: yes
Current temperatures from HAL:
	Temperature{{mValue=41.0, mType=0, mName=CPU0, mStatus=0}}
	Temperature{{mValue=33.5, mType=3, mName=skin back, mStatus=0}}
	Temperature{{mValue=36.0, mType=50, mName=Samsung modem, mStatus=0}}
	Temperature{{mValue=35.0, mType=12, mName=modem, mStatus=0}}
	Temperature{{mValue=4.1, mType=6, mName=vbat, mStatus=0}}
	Temperature{{mValue=350.0, mType=7, mName=ibat, mStatus=0}}
	Temperature{{mValue=60.0, mType=8, mName=socd, mStatus=0}}
	Temperature{{mValue=28.0, mType=-1, mName=virtual, mStatus=0}}
	Temperature{{mValue=350.0, mType=0, mName=absurd, mStatus=0}}
Current cooling devices from HAL:
	CoolingDevice{{mValue=0, mType=2, mName=thermal-cpufreq-0}}
"""


def dump(override: str = "false", ready: str = "true", version: str = "2.0") -> str:
    return DUMP.format(override=override, ready=ready, version=version)


def test_of_the_thermal_service_only_types_of_heat_in_degrees_as_they_are() -> None:
    """350 mA is no 35 degrees, and 350 degrees is none either."""
    assert hal_temperatures(dump()) == {
        "hal CPU0": 41.0,
        "hal skin back": 33.5,
        "hal Samsung modem": 36.0,
        "hal modem": 35.0,
        "hal absurd": UNREADABLE,
    }


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (dump(), 0),
        (dump(version="AIDL 1"), 0),
        (dump(ready="false"), UNREADABLE),
        (dump(version="1.0"), UNREADABLE),  # never calls back: 0 for ever
        (dump(override="true"), UNREADABLE),
        ("Can't find service: thermalservice", UNREADABLE),
        ("", UNREADABLE),
    ],
)
def test_where_nobody_would_tell_of_throttling_it_is_unknown(text: str, status: int | str) -> None:
    assert thermal_status(text) == status


X = UNREADABLE


@pytest.mark.parametrize(
    ("raw", "celsius"),
    [
        ((41500, 38000, -274000), (41.5, 38.0, X)),
        ((415, 120, 384), (41.5, 12.0, 38.4)),
        ((41, 120, 38), (41.0, 120.0, 38.0)),
        # Zones of another unit than most of the phone's: no guess for each.
        ((415, 420, 31, 25000), (41.5, 42.0, X, X)),
        ((41500, 42000, 31, 285), (41.5, 42.0, X, X)),
        # Cold, and nothing else explains it; no number.
        ((41500, -5000, 0, X), (41.5, -5.0, 0.0, X)),
    ],
)
def test_a_phone_has_one_unit(raw: Sequence[float | str], celsius: Sequence[float | str]) -> None:
    names = "abcd"
    seen = Zones().celsius(dict(zip(names, raw, strict=False)))
    assert tuple(seen.values()) == celsius


@given(
    st.lists(st.floats(15, 95), min_size=1, max_size=20), st.sampled_from([1, 10, 1000]), st.data()
)
def test_whatever_the_unit_the_phone_is_as_warm(
    degrees: list[float], unit: int, data: st.DataObject
) -> None:
    raw = {str(number): round(celsius * unit) for number, celsius in enumerate(degrees)}
    seen = Zones().celsius(raw)
    for number, celsius in enumerate(degrees):
        assert seen[str(number)] == pytest.approx(celsius, abs=0.51 if unit == 1 else 0.06)
