"""Phones that cannot be used yet, that adb cannot tell apart, or that are lost on the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from adbd_phone import Phone
from cable import Cable

from mnasfpn.android_harness.campaign import campaign
from mnasfpn.android_harness.phone.adb import AdbDevice, choose_serial
from mnasfpn.android_harness.phone.adb_server import FIXES
from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.android_harness.phone.benchmark_tool import place
from mnasfpn.android_harness.protocol import PHONE_PROTOCOL
from mnasfpn.errors import InvalidInput, MnasFpnError, TransientDeviceError
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.tests.android_harness.phone.recorded_tool import (
    SETTINGS,
    TOOL,
    good_jobs,
    job,
    runs,
)
from mnasfpn.tests.android_harness.phone.simulated_phone import (
    Physics,
    SimulatedPhone,
    convolution,
    simulated_tool,
)
from mnasfpn.tests.android_harness.phone.test_adb import CannedServer
from mnasfpn.tests.android_harness.phone.trouble import Row

PROTOCOL = replace(PHONE_PROTOCOL, rounds=1, extra_rounds=0, retry_wait_s=0.1, sentinel_every=2)
NewPhone = Callable[..., SimulatedPhone]
Listed = Callable[[str], str]


def on_a_phone(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.phone(pytest.mark.xdist_group("phone")(test))


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


@pytest.mark.slow
@on_a_phone
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


@pytest.fixture
def cable(phone: Phone) -> Iterator[Cable]:
    import adbutils

    between = Cable(phone.port)
    yield between
    adbutils.AdbClient().disconnect(between.serial)
    between.close()


@pytest.fixture
def device(phone: Phone) -> AndroidDevice:
    return AndroidDevice(phone.serial, TOOL, reconnect_s=20)


@on_a_phone
def test_the_cable_is_pulled(phone: Phone, device: AndroidDevice, tmp_path: Path, row: Row) -> None:
    """Plugged in again, it goes on with the model that was interrupted; nothing is lost."""
    jobs, sentinel = good_jobs(tmp_path, 4), job(tmp_path, "sentinel", "us=500")
    done: list[tuple[str, int]] = []
    for at, run in campaign(device, jobs, PROTOCOL, 0, SETTINGS, sentinel=sentinel):
        done.append((at.key, run.round))
        assert not run.error
        if len(done) == 3:
            phone.stop()
            threading.Timer(0.3, phone.start).start()
    assert [key for key, _ in done].count("sentinel") == 3
    assert sorted(key for key, _ in done if key != "sentinel") == [at.key for at in jobs]
    row.seen_in("")


@on_a_phone
def test_the_cable_stays_out(phone: Phone, device: AndroidDevice, tmp_path: Path, row: Row) -> None:
    device.reconnect_s = 0.5
    round_ = device.run_round(good_jobs(tmp_path, 2), SETTINGS, 0)
    next(round_)
    phone.stop()
    with pytest.raises(TransientDeviceError, match="lost"):
        next(round_)
    with pytest.raises(TransientDeviceError) as caught:
        runs(device, good_jobs(tmp_path, 2))
    row.seen_in(str(caught.value))


@on_a_phone
def test_the_adb_server_is_killed(
    phone: Phone, device: AndroidDevice, tmp_path: Path, row: Row
) -> None:
    import adbutils

    jobs, sentinel = good_jobs(tmp_path, 2), job(tmp_path, "sentinel", "us=500")
    keys = []
    for at, run in campaign(device, jobs, PROTOCOL, 0, SETTINGS, sentinel=sentinel):
        assert not run.error
        keys.append(at.key)
        if len(keys) == 2:
            adbutils.AdbClient().server_kill()
    assert sorted(keys) == sorted(at.key for at in [*jobs, sentinel, sentinel])
    row.seen_in("")


@on_a_phone
def test_the_phone_restarts(phone: Phone, device: AndroidDevice, tmp_path: Path, row: Row) -> None:
    """It answers adb long before it has booted; until then it is waited for."""
    runs(device, good_jobs(tmp_path, 1))
    phone.stop()
    phone.set_properties({"sys.boot_completed": ""})
    phone.start()
    device.reconnect_s = 3
    with pytest.raises(TransientDeviceError) as caught:
        runs(device, good_jobs(tmp_path, 1))
    row.seen_in(str(caught.value))
    threading.Timer(0.5, phone.set_properties, ({},)).start()
    device.reconnect_s = 20
    assert not runs(device, good_jobs(tmp_path, 1))[0].error


@on_a_phone
def test_a_push_is_cut_short(phone: Phone, cable: Cable, tmp_path: Path, row: Row) -> None:
    device = AdbDevice(cable.serial)
    device.wait(10)
    model = tmp_path / "big.tflite"
    model.write_bytes(os.urandom(3_000_000))
    cable.break_after(1_000_000)
    assert place(device, {"/data/local/tmp/big.tflite": model}) == 1
    assert cable.breaks == 1
    assert (phone.tmp / "big.tflite").read_bytes() == model.read_bytes()
    row.seen_in("")


@on_a_phone
def test_a_push_that_is_always_cut_short_stops(phone: Phone, cable: Cable, tmp_path: Path) -> None:
    """And half a file is never found under the name of the whole."""
    device = AdbDevice(cable.serial)
    device.wait(10)
    wait = device.wait

    def broken_again(timeout_s: float = 60.0) -> None:
        wait(timeout_s)
        cable.break_after(1_000_000)

    device.wait = broken_again  # type: ignore[method-assign]
    cable.break_after(1_000_000)
    model = tmp_path / "big.tflite"
    model.write_bytes(os.urandom(3_000_000))
    with pytest.raises(TransientDeviceError):
        place(device, {"/data/local/tmp/big.tflite": model})
    assert cable.breaks == 3
    assert not (phone.tmp / "big.tflite").exists()
