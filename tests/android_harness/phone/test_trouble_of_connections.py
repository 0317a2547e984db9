"""Phones that adb lists and that cannot be used yet, and phones that it cannot tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnasfpn.android_harness.phone.adb import choose_serial
from mnasfpn.android_harness.phone.adb_server import FIXES
from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.android_harness.protocol import PHONE_PROTOCOL
from mnasfpn.errors import InvalidInput, MnasFpnError
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.tests.android_harness.phone.simulated_phone import (
    Physics,
    SimulatedPhone,
    convolution,
    simulated_tool,
)
from mnasfpn.tests.android_harness.phone.test_adb import CannedServer
from mnasfpn.tests.android_harness.phone.trouble import Row

NewPhone = Callable[..., SimulatedPhone]
Listed = Callable[[str], str]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listed]:
    """What is said of a phone that adb lists so, or of the list if it is empty."""
    servers: list[CannedServer] = []

    def said(listing: str) -> str:
        servers.append(CannedServer(listing))
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(servers[-1].port))
        with pytest.raises(MnasFpnError) as caught:
            choose_serial()
        return str(caught.value)

    yield said
    for server in servers:
        server.close()


def test_the_phone_is_unauthorized(refusal: Listed, row: Row) -> None:
    row.seen_in(refusal("EX0042\tunauthorized\n"))


def test_the_phone_is_offline(refusal: Listed, row: Row) -> None:
    row.seen_in(refusal("EX0042\toffline\n"))


def test_you_have_no_permissions(refusal: Listed, row: Row) -> None:
    row.seen_in(refusal("EX0042\tno permissions (user in plugdev group?); see [http://x]\n"))


def test_the_phone_is_in_another_mode(refusal: Listed, row: Row) -> None:
    for mode in ("recovery", "sideload", "rescue", "bootloader"):
        assert mode in FIXES
        row.seen_in(refusal(f"EX0042\t{mode}\n"))


def test_another_program_has_the_phone(refusal: Listed, row: Row) -> None:
    row.seen_in(refusal("EX0042\tdetached\n"))


def test_the_address_is_a_computers(refusal: Listed, row: Row) -> None:
    row.seen_in(refusal("192.0.2.7:5555\thost\n"))


def test_no_phone_is_listed(refusal: Listed, row: Row) -> None:
    row.seen_in(refusal(""))


def test_several_phones_are_connected(refusal: Listed, row: Row) -> None:
    row.seen_in(refusal("EX0042\tdevice\nEX0043\tdevice\n"))


@pytest.mark.phone
@pytest.mark.slow
@pytest.mark.xdist_group("phone")
def test_two_phones_have_one_serial(new_phone: NewPhone, tmp_path: Path, row: Row) -> None:
    """Neither is taken for the other, nor are its runs in the store that they share."""
    speeds = (1, 2)
    phones = [
        new_phone(
            kind=SimulatedPhone,
            physics=Physics(slowness=slowness),
            properties={"ro.serialno": "0123456789ABCDEF"},
        )
        for slowness in speeds
    ]
    with pytest.raises(InvalidInput) as caught:
        choose_serial("0123456789ABCDEF")
    row.seen_in(str(caught.value))
    with MeasurementStore(tmp_path / "both.db") as store:
        centres = []
        for phone in phones:
            device = AndroidDevice(phone.serial, simulated_tool())
            session = Session(device, store, PHONE_PROTOCOL, sleep=phone.rest)
            session.measure({"small": convolution(32)})
            centres.append(session.measurements()["small"].centre_us)
        assert len(store.devices()) == len(phones)
    fast, slow = centres
    assert fast
    assert slow
    assert slow == pytest.approx(2 * fast, rel=0.02, abs=1)
