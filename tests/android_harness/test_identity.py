"""Which measurements are of one device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.android_harness.identity import announced, hardware_serial, is_same_device
from mnasfpn.android_harness.measurement import DeviceInfo

PHONE = DeviceInfo(
    "R5EXAMPLE1", "Pixel", "SoC", "14", "arm64-v8a", "tool", cores=(6, 7), unit="0a1b2c3d4e5f"
)
MDNS = "adb-R5EXAMPLE1-aBcDeF._adb-tls-connect._tcp"
SERIALS = st.text("ABCXYZ0123456789-", min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("listed", "serial"),
    [
        ("R5EXAMPLE1", "R5EXAMPLE1"),
        (MDNS, "R5EXAMPLE1"),
        (MDNS + ".", "R5EXAMPLE1"),
        ("adb-R5EXAMPLE1-aBcDeF (2)._adb-tls-connect._tcp", "R5EXAMPLE1"),
        ("adb-R5EXAMPLE1._adb._tcp", "R5EXAMPLE1"),
        ("adb-R5EXAMPLE1 (3)._adb._tcp.", "R5EXAMPLE1"),
        ("192.168.1.7:5555", "192.168.1.7:5555"),
        ("emulator-5554", "emulator-5554"),
        ("adb-7", "adb-7"),
    ],
)
def test_the_serial_in_a_name_that_adb_lists(listed: str, serial: str) -> None:
    assert hardware_serial(listed) == serial


@given(SERIALS, st.text("abcXYZ019", min_size=6, max_size=6), st.integers(2, 40))
def test_any_serial_comes_back_from_its_mdns_names(serial: str, letters: str, number: int) -> None:
    once = f"adb-{serial}-{letters}._adb-tls-connect._tcp"
    again = f"adb-{serial}-{letters} ({number})._adb-tls-connect._tcp"
    assert hardware_serial(once) == hardware_serial(again) == serial
    assert announced(again) == once


def test_stored_before_0_2_it_has_no_unit_and_maybe_the_name_of_its_announcement() -> None:
    old = replace(PHONE, unit="")
    assert is_same_device(old, PHONE)
    assert is_same_device(replace(old, serial=MDNS), PHONE)
    assert is_same_device(old, old)


@pytest.mark.parametrize(
    "stored",
    [
        replace(PHONE, unit="ffffffffffff"),
        replace(PHONE, serial="R5EXAMPLE2"),
        replace(PHONE, cores=(0, 1)),
        replace(PHONE, os="15"),
        replace(PHONE, runtime="other"),
    ],
)
def test_another_phone_system_runtime_or_cluster_is_another_device(stored: DeviceInfo) -> None:
    assert not is_same_device(stored, PHONE)


def test_a_phone_that_does_not_say_its_unit_is_not_taken_for_one_of_two() -> None:
    assert not is_same_device(PHONE, replace(PHONE, unit=""))
