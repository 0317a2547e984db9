"""Talking to one phone through adbutils: commands, files, waiting for it to come back."""

from __future__ import annotations

import hashlib
import re
import struct
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DeviceError, InvalidInput, StableDeviceError, TransientDeviceError
from ..identity import announced, hardware_serial
from .adb_server import (
    FIXES,
    ListedDevice,
    classified,
    client,
    list_devices,
    plugged_in,
    translated,
)

if TYPE_CHECKING:
    from adbutils import AdbConnection

_USABLE_SOON = ("offline", "connecting", "authorizing", "absent")
_ADDRESS = re.compile(r"(?!usb:).+:\d+")
_PORT = "usb:"
_ANDROID_ID = re.compile(r"[0-9a-f]{6,16}")
_POLL_S = 0.5
_CHUNK = 64 * 1024
_MARK = "mnasfpn-exit"


@dataclass(frozen=True, slots=True)
class ShellResult:
    """What a command on the device did. Without shell v2 both streams are in ``stdout``."""

    returncode: int
    stdout: str
    stderr: str


def choose_serial(serial: str | None = None) -> str:
    """The phone to use: the one named, or the only one there is.

    Args:
        serial: as adb lists it, its ``ro.serialno`` however it is connected, ``host:port`` of one
            that is not connected yet, or ``usb:PORT``.

    Raises:
        InvalidInput: none, several and no name given, or another name; the message lists them.
        StableDeviceError: it is there and cannot be used; the message says what to do.
    """
    devices = list_devices()
    if serial and _ADDRESS.fullmatch(serial) and all(each.serial != serial for each in devices):
        AdbDevice(serial).connect()
        devices = list_devices()
    listing = ", ".join(f"{each.serial} ({each.state})" for each in devices) or "none"
    if serial is None:
        usable = _distinct([each for each in devices if not each.fix])
        if (len(devices) > 1 and len(usable) != 1) or not devices:
            raise InvalidInput(
                f"adb lists {listing}; expected exactly one phone or --device SERIAL. "
                + ("Name one" if devices else "Connect one by USB and allow USB debugging")
            )
        chosen = (usable or devices)[0]
    else:
        named = _distinct(_named(serial, devices))
        if not named:
            raise InvalidInput(
                f"adb lists {listing}, not {serial!r}; check the cable and the serial"
            )
        if len(named) > 1:
            raise InvalidInput(
                f"{len(named)} phones have the serial {serial!r}: adb lists {listing}; name one as "
                "it is listed, or unplug the other where they are listed alike"
            )
        chosen = named[0]
    if chosen.fix:
        raise StableDeviceError(f"{chosen.serial} is {chosen.state}: {chosen.fix}")
    return chosen.serial


class AdbDevice:
    """One phone: commands, files, and waiting for it to come back.

    Args:
        serial: as adb lists it; ``host:port`` for one connected over TCP.
    """

    def __init__(self, serial: str) -> None:
        self.serial = serial
        self._features: frozenset[str] | None = None

    def state(self) -> str:
        """As adb lists it, or ``absent``. A phone is followed to its new mDNS name."""
        devices = plugged_in() if self.serial.startswith(_PORT) else list_devices()
        states = {each.serial: each.state for each in devices}
        if states.get(self.serial) != "device":
            usable = (name for name, state in states.items() if state == "device")
            same = (name for name in usable if announced(name) == announced(self.serial))
            self.serial = next(same, self.serial)
        return states.get(self.serial, "absent")

    def identity(self) -> tuple[str, str]:
        """``ro.serialno``, and a digest of what Android calls this installation.

        Makers of cheap phones give all of them one serial; the second (``android_id``, made when
        the phone is set up) differs. Each is empty where the phone does not say.

        Raises:
            TransientDeviceError, StableDeviceError: the phone cannot be asked.
        """
        asked = self.shell(f"getprop ro.serialno; echo {_MARK}; settings get secure android_id")
        serial, _, unit = asked.stdout.partition(_MARK)
        return printable(serial), digest(unit) if _ANDROID_ID.fullmatch(unit.strip()) else ""

    def wait(self, timeout_s: float = 60.0) -> None:
        """Return once the phone answers and has booted.

        Raises:
            StableDeviceError: a person has to do something, such as authorise this computer.
            TransientDeviceError: not back in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                why = self._why_not_ready()
            except TransientDeviceError as error:
                why = str(error)
            if not why:
                return
            if time.monotonic() > deadline:
                raise TransientDeviceError(
                    f"{self.serial} did not come back within {timeout_s:g} s: {why}; "
                    "check the cable and that the phone is on"
                )
            time.sleep(_POLL_S)

    def shell(self, command: str, timeout_s: float = 30.0) -> ShellResult:
        """Run a command in the phone's shell.

        Args:
            timeout_s: longest silence; past it the connection is given up, not the command.

        Raises:
            TransientDeviceError, StableDeviceError: the phone could not be asked.
        """
        with translated(self.serial):
            device = client().device(self.serial)
            if self._features is None:
                self._features = frozenset(device.get_features().split(","))
            if "shell_v2" in self._features:
                got = device.shell2(command, timeout=timeout_s, encoding=None, v2=True)
                return ShellResult(got.returncode, _text(got.stdout), _text(got.stderr))
            mark = f"{_MARK}-{uuid.uuid4().hex}:"
            merged = _text(
                device.shell(f"(\n{command}\n); echo {mark}$?", timeout=timeout_s, encoding=None)
            )
        return _marked(merged, mark, self.serial)

    def push(self, content: bytes, path: str, mode: int = 0o644, timeout_s: float = 60.0) -> None:
        """Write a file on the phone; the phone's own words when it cannot.

        Raises:
            StableDeviceError: no space, no permission, or a path that cannot be written.
            TransientDeviceError: cut short; what is at ``path`` may be half a file.
        """
        with translated(self.serial):
            device = client().device(self.serial)
            with device.open_transport(timeout=timeout_s) as link:
                link.send_command("sync:")
                link.check_okay()
                refused = _send_file(link, content, path, mode)
        if refused:
            raise classified(refused, f"{self.serial} refused {path}: {refused}")

    def pull(self, path: str) -> bytes | None:
        """A file's content, or None where there is no such file that may be read.

        Raises:
            TransientDeviceError: the connection was lost.
        """
        from adbutils import AdbError

        with translated(self.serial):
            try:
                content: bytes = client().device(self.serial).sync.read_bytes(path)
            except AdbError as refused:
                if refused.args[1:] != (path,):  # not the phone's own words about the file
                    raise
                return None
        return content

    def _why_not_ready(self) -> str:
        """Why the phone cannot be used yet; empty when it can."""
        state = self.state()
        if state in _USABLE_SOON:
            self._features = None
            said = self.connect() if _ADDRESS.fullmatch(self.serial) else f"it is {state}"
            state = self.state()
            if state in _USABLE_SOON:
                return said
        if state != "device":
            raise StableDeviceError(
                f"{self.serial} is {state}: {FIXES.get(state, 'start it normally')}"
            )
        booted = self.shell("getprop sys.boot_completed", timeout_s=10).stdout.strip()
        return "" if booted == "1" else "it is still booting"

    def connect(self) -> str:
        """Connect over TCP, as a new adb server needs it; what the server says."""
        with translated(self.serial):
            server = client()
            server.disconnect(self.serial)
            said: str = server.connect(self.serial, timeout=10)
        return said


def _named(serial: str, devices: list[ListedDevice]) -> list[ListedDevice]:
    """Those that somebody may mean by a name: of the phone now, of before, or its own serial."""
    if exact := [each for each in devices if each.serial == serial]:
        return exact
    wanted = hardware_serial(serial)
    alike = [each for each in devices if wanted == hardware_serial(each.listed)]
    asked = (each for each in devices if not each.fix)
    return alike or [each for each in asked if _identity(each)[0] == wanted]


def _distinct(devices: list[ListedDevice]) -> list[ListedDevice]:
    """One entry for each phone, its cable before its other connections.

    Two are one phone only if both say so: who does not tell its identity is somebody else.
    """
    if len(devices) < 2:
        return devices
    phones: dict[object, ListedDevice] = {}
    for number, each in enumerate(sorted(devices, key=_by_air)):
        known = ("", "") if each.fix else _identity(each)
        phones.setdefault(known if all(known) else number, each)
    return list(phones.values())


def _by_air(listed: ListedDevice) -> bool:
    name = listed.serial
    return bool(_ADDRESS.fullmatch(name)) or hardware_serial(name) != name


def _identity(listed: ListedDevice) -> tuple[str, str]:
    try:
        return AdbDevice(listed.serial).identity()
    except DeviceError:
        return "", ""  # it starts just now, or cannot be asked alone: it does not say who it is


def printable(said: str) -> str:
    """What a phone says of itself as one line that may be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())


def digest(name: str) -> str:
    """Tells two names apart without telling them."""
    return hashlib.sha256(name.strip().encode()).hexdigest()[:12]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace").replace("\r\n", "\n")


def _marked(merged: str, mark: str, serial: str) -> ShellResult:
    """Old phones send no exit code; the shell is made to print one after a mark of our own."""
    found = re.search(re.escape(mark) + r"(\d+)\s*\Z", merged)
    if not found:
        raise TransientDeviceError(
            f"lost {serial}: its answer breaks off after {merged[-80:]!r}; it will be tried again"
        )
    return ShellResult(int(found[1]), merged[: found.start()], "")


def _send_file(link: AdbConnection, content: bytes, path: str, mode: int) -> str:
    """adb's SYNC protocol, SEND request; returns the phone's refusal or an empty text.

    adbutils' own push drops the reason, which is what tells a full disk from a cut cable.
    """
    target = f"{path},{0o100000 | mode}".encode()
    packets = [(b"SEND", target)]
    packets += [(b"DATA", content[at : at + _CHUNK]) for at in range(0, len(content), _CHUNK)]
    try:
        for name, payload in packets:
            link.conn.sendall(name + struct.pack("<I", len(payload)) + payload)
        link.conn.sendall(b"DONE" + struct.pack("<I", int(time.time())))
    except OSError as cut:  # a phone that refuses hangs up at once, its reason unread
        refused = _refusal(link)
        if not refused:
            raise EOFError("the push was cut short") from cut
        return refused
    return _refusal(link)


def _refusal(link: AdbConnection) -> str:
    answer = link.read_exact(8)
    if answer[:4] == b"OKAY":
        return ""
    if answer[:4] != b"FAIL":
        raise ValueError(f"unknown answer {answer!r} to a push")
    said: bytes = link.read_exact(struct.unpack("<I", answer[4:])[0])
    return said.decode(errors="replace")
