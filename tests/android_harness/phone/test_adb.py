"""The adb layer against a server of canned answers: states, messages, lost connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from mnasfpn.android_harness.phone.adb import AdbDevice, choose_serial
from mnasfpn.android_harness.phone.adb_server import FIXES, classified, list_devices
from mnasfpn.errors import InvalidInput, StableDeviceError, TransientDeviceError


class CannedServer:
    """Speaks as much of adb's host protocol as is needed; not an adb server."""

    def __init__(self, devices: str) -> None:
        self.devices = devices
        self.at_ports = ""  # the answer to ``adb devices -l``
        self.features = "cmd,shell_v2"
        self.shell_answer = b""  # raw, after OKAY
        self.shell_answers: dict[str, bytes] = {}  # of single phones
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with link:
            self._talk(link)

    def _talk(self, link: socket.socket) -> None:
        serial = ""
        while head := link.recv(4):
            request = link.recv(int(head, 16)).decode()
            self.asked.append(request)
            if request == "host:devices-l":
                link.sendall(b"OKAY" + block(self.at_ports))
                return
            if request == "host:devices":
                link.sendall(b"OKAY" + block(self.devices))
                return
            if request.endswith(":features"):
                link.sendall(b"OKAY" + block(self.features))
                return
            if request == "host:version":
                link.sendall(b"OKAY" + block("0029"))
                return
            if request.startswith("host:tport"):
                if "\tdevice" not in self.devices:
                    link.sendall(b"FAIL" + block("device offline"))
                    return
                serial = request.removeprefix("host:tport:serial:")
                link.sendall(b"OKAY" + bytes(8))
            elif request.startswith("shell"):
                link.sendall(b"OKAY" + self.shell_answers.get(serial, self.shell_answer))
                return
            else:
                link.sendall(b"FAIL" + block(f"unknown {request}"))
                return


def block(text: str) -> bytes:
    return f"{len(text):04x}{text}".encode()


def v2(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + len(data).to_bytes(4, "little") + data


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], CannedServer]]:
    servers: list[CannedServer] = []

    def start(devices: str) -> CannedServer:
        servers.append(CannedServer(devices))
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(servers[-1].port))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


Server = Callable[[str], CannedServer]
NO_PERMISSIONS = (
    "no permissions (missing udev rules? user is in the plugdev group); "
    "see [http://developer.android.com/tools/device.html]"
)
NOT_STARTED = ("recovery", "sideload", "rescue", "bootloader")


@pytest.mark.parametrize(
    ("listed", "state", "fix"),
    [
        ("device", "device", ""),
        ("unauthorized", "unauthorized", "Allow USB debugging"),
        ("offline", "offline", "cable"),
        (NO_PERMISSIONS, "no permissions", "udev rules"),
        *((state, state, "start the phone normally") for state in NOT_STARTED),
        ("detached", "detached", "adb attach"),
        ("host", "host", "the adb server of a computer"),
        ("authorizing", "authorizing", "Allow USB debugging"),
        ("connecting", "connecting", "wait a moment"),
        ("unknown", "unknown", "cable"),
        ("something new", "something new", "unknown state 'something new'"),
    ],
)
def test_every_state_has_a_fix(server: Server, listed: str, state: str, fix: str) -> None:
    server(f"EX0042\t{listed}\n")
    (device,) = list_devices()
    assert (device.serial, device.state) == ("EX0042", state)
    assert fix in device.fix
    assert bool(device.fix) == (state != "device")


def test_no_phone(server: Server) -> None:
    server("")
    assert list_devices() == []
    with pytest.raises(InvalidInput, match=r"adb lists none; .*Connect one by USB"):
        choose_serial()


def test_the_only_usable_phone_is_taken(server: Server) -> None:
    server("A\tunauthorized\nB\tdevice\n")
    assert choose_serial() == "B"
    assert choose_serial("B") == "B"


def test_two_usable_phones_need_a_name(server: Server) -> None:
    server("A\tdevice\nB\tdevice\n")
    with pytest.raises(InvalidInput, match=r"A \(device\), B \(device\); .*--device SERIAL"):
        choose_serial()


def test_another_name(server: Server) -> None:
    server("A\tdevice\n")
    with pytest.raises(InvalidInput, match=r"adb lists A \(device\), not 'C'"):
        choose_serial("C")


@pytest.mark.parametrize(
    "state", ["unauthorized", "offline", "detached", "host", "authorizing", *NOT_STARTED]
)
def test_a_phone_that_cannot_be_used_yet(server: Server, state: str) -> None:
    server(f"A\t{state}\n")
    for serial in (None, "A"):
        with pytest.raises(StableDeviceError, match=f"A is {state}: "):
            choose_serial(serial)


# One phone with several names, several phones with one


def who(serial: str, android_id: str) -> bytes:
    """The answer to the question who a phone is."""
    said = f"{serial}\nmnasfpn-exit\n{android_id}\n".encode()
    return v2(1, said) + v2(3, b"\0")


WIFI = "adb-EX0042-aBcDeF._adb-tls-connect._tcp"
AGAIN = "adb-EX0042-aBcDeF (2)._adb-tls-connect._tcp"


def test_a_phone_that_is_connected_twice_is_one_and_its_cable_is_used(server: Server) -> None:
    canned = server(f"10.0.0.7:5555\tdevice\n{WIFI}\tdevice\nEX0042\tdevice\n")
    canned.shell_answer = who("EX0042", "0123456789abcdef")
    assert choose_serial() == "EX0042"


def test_two_phones_that_do_not_say_who_they_are_are_two(server: Server) -> None:
    canned = server("10.0.0.7:5555\tdevice\n10.0.0.8:5555\tdevice\n")
    for said in (who("EX0042", "null"), who("unknown", "null"), who("", "error: no service")):
        canned.shell_answer = said
        with pytest.raises(InvalidInput, match="--device SERIAL"):
            choose_serial()


@pytest.mark.parametrize("listed", ["10.0.0.7:5555", WIFI, AGAIN])
def test_a_phone_is_found_by_its_serial_however_it_is_connected(
    server: Server, listed: str
) -> None:
    canned = server(f"A\tdevice\n{listed}\tdevice\nB\toffline\n")
    canned.shell_answers = {listed: who("EX0042", "null"), "A": who("A", "null")}
    for name in ("EX0042", listed, WIFI, AGAIN):
        assert choose_serial(name) == listed
    with pytest.raises(InvalidInput, match="not 'EX0043'"):
        choose_serial("EX0043")


def test_an_announcement_with_a_number_is_the_same_phone(server: Server) -> None:
    """mDNS numbers a name that comes back before the old one is forgotten."""
    canned = server(f"{WIFI}\tdevice\nB\tdevice\n")
    device = AdbDevice(WIFI)
    assert device.state() == "device"
    canned.devices = f"{WIFI}\toffline\n{AGAIN}\tdevice\nB\tdevice\n"
    assert (device.state(), device.serial) == ("device", AGAIN)
    canned.devices = f"{WIFI}\tdevice\nB\tdevice\n"
    assert (device.state(), device.serial) == ("device", WIFI)
    canned.devices = "B\tdevice\n"
    assert (device.state(), device.serial) == ("absent", WIFI)


CLONE = "0123456789ABCDEF"
CLONES = f"{CLONE}\tdevice\nB\tdevice\n{CLONE}\tunauthorized\n"
AT_PORTS = (
    f"{CLONE}       device usb:1-4.2 product:x model:Y device:z transport_id:3\n"
    "B                      device usb:1-1 product:x model:Y device:z transport_id:1\n"
    f"{CLONE}       unauthorized usb:2-1 transport_id:4\n"
    "10.0.0.7:5555          device product:x model:Y device:z transport_id:5\n"
)


def test_phones_with_one_serial_are_named_by_their_ports(server: Server) -> None:
    canned = server(CLONES)
    canned.at_ports = AT_PORTS
    assert {each.serial: each.state for each in list_devices()} == {
        "usb:1-4.2": "device",
        "usb:2-1": "unauthorized",
        "B": "device",
    }
    with pytest.raises(InvalidInput, match=r"2 phones have the serial .*usb:1-4\.2 \(device\)"):
        choose_serial(CLONE)
    assert choose_serial("usb:1-4.2") == "usb:1-4.2"
    with pytest.raises(StableDeviceError, match=r"usb:2-1 is unauthorized: .*Allow USB"):
        choose_serial("usb:2-1")


def test_a_phone_named_by_its_port_stays_itself_when_the_other_is_gone(server: Server) -> None:
    canned = server(CLONES)
    canned.at_ports = AT_PORTS
    device = AdbDevice(choose_serial("usb:1-4.2"))
    canned.devices, canned.at_ports = f"{CLONE}\tdevice\n", AT_PORTS.splitlines()[0]
    assert device.state() == "device"
    canned.at_ports = AT_PORTS.splitlines()[2]
    assert device.state() == "absent"


def test_phones_with_one_serial_and_no_known_ports_are_refused(server: Server) -> None:
    server(f"{CLONE}\tdevice\n{CLONE}\tdevice\n")
    with pytest.raises(InvalidInput, match=r"2 phones have the serial .*unplug the other"):
        choose_serial(CLONE)


# Waiting and asking


def test_a_serial_that_begins_like_anothers_is_connected_all_the_same(server: Server) -> None:
    canned = server("10.0.0.1:55555\tdevice\n")
    with pytest.raises(TransientDeviceError):  # this server cannot connect anything
        choose_serial("10.0.0.1:5555")
    assert any("connect:10.0.0.1:5555" in request for request in canned.asked)


def test_waiting_for_an_unauthorised_phone_is_no_use(server: Server) -> None:
    server("A\tunauthorized\n")
    with pytest.raises(StableDeviceError, match="Allow USB debugging"):
        AdbDevice("A").wait(60)


def test_an_offline_phone_is_waited_for(server: Server) -> None:
    server("A\toffline\n")
    with pytest.raises(TransientDeviceError, match=r"A did not come back within 0\.1 s: .*offline"):
        AdbDevice("A").wait(0.1)


def test_streams_and_exit_code_apart(server: Server) -> None:
    canned = server("A\tdevice\n")
    canned.shell_answer = v2(1, b"out\r\n") + v2(2, b"err\n") + v2(1, b"more\n") + v2(3, b"\x07")
    result = AdbDevice("A").shell("whatever")
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\nmore\n", "err\n")


def test_an_old_phone_is_made_to_print_its_exit_code(server: Server) -> None:
    canned = server("A\tdevice\n")

    # The mark differs each time, so the answer is made of the request.
    def serve(link: socket.socket) -> None:
        while head := link.recv(4):
            request = link.recv(int(head, 16)).decode()
            if request.endswith(":features"):
                link.sendall(b"OKAY" + block("cmd"))
                return
            if request == "host:version":
                link.sendall(b"OKAY" + block("0029"))
                return
            if request.startswith("host:tport"):
                link.sendall(b"OKAY" + bytes(8))
            else:
                mark = request.split("echo ")[-1].replace("$?", "3")
                link.sendall(f"OKAYout\r\n{mark}\r\n".encode())
                return

    canned._talk = serve  # type: ignore[method-assign]
    result = AdbDevice("A").shell("whatever")
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "")


def test_an_old_phone_that_is_cut_off(server: Server) -> None:
    canned = server("A\tdevice\n")
    canned.features = "cmd"
    canned.shell_answer = b"half an ans"
    with pytest.raises(TransientDeviceError, match="breaks off after 'half an ans'"):
        AdbDevice("A").shell("whatever")


def test_cut_off_in_the_middle_of_an_answer(server: Server) -> None:
    canned = server("A\tdevice\n")
    canned.shell_answer = v2(1, b"out\n")  # and no exit code
    with pytest.raises(TransientDeviceError, match="lost A"):
        AdbDevice("A").shell("whatever")


def test_a_server_that_talks_nonsense(server: Server) -> None:
    canned = server("A\tdevice\n")
    canned._talk = lambda link: link.sendall(b"HTTP/1.1 400 Bad Request")  # type: ignore[method-assign]
    with pytest.raises(TransientDeviceError, match="lost the adb server"):
        list_devices()


def test_no_adb_program(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setenv("ADBUTILS_ADB_PATH", "/nonexistent/adb")
    with pytest.raises((StableDeviceError, TransientDeviceError), match="lost the adb server"):
        list_devices()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("write failed: No space left on device", StableDeviceError),
        ("couldn't create file: Permission denied", StableDeviceError),
        ("device unauthorized.", StableDeviceError),
        ("No adb exe could be found. Install adb on your system", StableDeviceError),
        ("device offline", TransientDeviceError),
        ("closed", TransientDeviceError),
        ("device 'A' not found", TransientDeviceError),
    ],
)
def test_who_can_do_something(said: str, kind: type[Exception]) -> None:
    error = classified(said, f"lost A: {said}")
    assert type(error) is kind
    assert said in str(error)
    assert "; " in str(error)


def test_every_fix_tells_what_to_do() -> None:
    assert all(fix or state == "device" for state, fix in FIXES.items())
