"""Talking to phones through adbutils and the platform's adb server.

Every failure comes out as one of two errors: transient, when waiting and trying again may help, or
stable, when a person has to do something; then the message says what.
"""

from __future__ import annotations

import re
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DeviceError, InvalidInput, StableDeviceError, TransientDeviceError

if TYPE_CHECKING:
    from adbutils import AdbClient, AdbConnection

#: State as adb lists it: what a person must do. Only ``device`` can be measured.
FIXES = {
    "device": "",
    "unauthorized": (
        "unlock the phone and accept 'Allow USB debugging?'; if nothing is asked, revoke USB "
        "debugging authorisations in its developer options and plug it in again"
    ),
    "authorizing": "unlock the phone and accept 'Allow USB debugging?'",
    "offline": (
        "plug the cable out and in again or wait for the phone to finish booting; then 'adb "
        "reconnect offline' or 'adb kill-server'"
    ),
    "connecting": "wait a moment, the phone is being connected",
    "no permissions": (
        "on Linux install your distribution's udev rules for Android (Debian: package "
        "android-sdk-platform-tools-common), join the group plugdev and plug in again"
    ),
    "recovery": "start the phone normally: it is in recovery mode",
    "sideload": "start the phone normally: it is in sideload mode",
    "bootloader": "start the phone normally: it is in the bootloader",
}
_USABLE_SOON = ("offline", "connecting", "authorizing", "absent")
_POLL_S = 0.5
_CHUNK = 64 * 1024
_MARK = "mnasfpn-exit"


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """One line of ``adb devices``; ``fix`` is empty when the device can be used."""

    serial: str
    state: str
    fix: str


@dataclass(frozen=True, slots=True)
class ShellResult:
    """What a command on the device did. Without shell v2 both streams are in ``stdout``."""

    returncode: int
    stdout: str
    stderr: str


def list_devices() -> list[ListedDevice]:
    """Every device the adb server knows, usable or not; starts the server if need be.

    Raises:
        StableDeviceError: there is no adb program.
        TransientDeviceError: the adb server cannot be reached.
    """
    with _translated("the adb server"), _client().make_connection(timeout=10) as link:
        link.send_command("host:devices")
        link.check_okay()
        text = link.read_string_block()
    return [_listed(line) for line in text.splitlines() if "\t" in line]


def choose_serial(serial: str | None = None) -> str:
    """The phone to use: the one named, or the only one there is.

    Raises:
        InvalidInput: none, several and no name given, or another name; the message lists them.
        StableDeviceError: it is there and cannot be used; the message says what to do.
    """
    devices = list_devices()
    listing = ", ".join(f"{device.serial} ({device.state})" for device in devices) or "none"
    if serial is None:
        usable = [device for device in devices if device.state == "device"]
        if (len(devices) > 1 and len(usable) != 1) or not devices:
            raise InvalidInput(
                f"adb lists {listing}; expected exactly one phone or --device SERIAL. "
                + ("Name one" if devices else "Connect one by USB and allow USB debugging")
            )
        chosen = (usable or devices)[0]
    else:
        if ":" in serial and all(device.serial != serial for device in devices):
            AdbDevice(serial).connect()
            devices = list_devices()
        named = [device for device in devices if device.serial == serial]
        if not named:
            raise InvalidInput(
                f"adb lists {listing}, not {serial!r}; check the cable and the serial"
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
        """As adb lists it, or ``absent``."""
        return next((d.state for d in list_devices() if d.serial == self.serial), "absent")

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
        with _translated(self.serial):
            device = _client().device(self.serial)
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
        with _translated(self.serial):
            device = _client().device(self.serial)
            with device.open_transport(timeout=timeout_s) as link:
                link.send_command("sync:")
                link.check_okay()
                refused = _send_file(link, content, path, mode)
        if refused:
            raise classified(refused, f"{self.serial} refused {path}: {refused}")

    def _why_not_ready(self) -> str:
        """Why the phone cannot be used yet; empty when it can."""
        state = self.state()
        if state in _USABLE_SOON:
            self._features = None
            said = self.connect() if ":" in self.serial else f"it is {state}"
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
        with _translated(self.serial):
            client = _client()
            client.disconnect(self.serial)
            said: str = client.connect(self.serial, timeout=10)
        return said


#: Text of the phone or the server: who can do something about it. First match counts.
_WORDS: tuple[tuple[str, type[DeviceError], str], ...] = (
    ("No space left", StableDeviceError, "free some space on the phone's storage"),
    ("File too large", StableDeviceError, "free some space on the phone's storage"),
    ("Read-only file system", StableDeviceError, "use a folder that can be written"),
    ("Permission denied", StableDeviceError, "the adb shell user must be allowed to do this"),
    ("unauthorized", StableDeviceError, FIXES["unauthorized"]),
    ("no permissions", StableDeviceError, FIXES["no permissions"]),
    ("insufficient permissions", StableDeviceError, FIXES["no permissions"]),
    (
        "No adb exe",
        StableDeviceError,
        "install Android platform-tools: 'adb' on the PATH",
    ),
    ("more than one device", StableDeviceError, "give the serial"),
)


def classified(text: str, message: str) -> DeviceError:
    """The error that fits what the phone or the adb server said, with the fix appended."""
    for words, kind, fix in _WORDS:
        if words.lower() in text.lower():
            return kind(f"{message}; {fix}")
    return TransientDeviceError(f"{message}; check the cable, it will be tried again")


def _client() -> AdbClient:
    """Of the server that ``ANDROID_ADB_SERVER_PORT`` names; adbutils takes a while to import."""
    from adbutils import AdbClient

    return AdbClient()


@contextmanager
def _translated(who: str) -> Iterator[None]:
    """Whatever adbutils, sockets and the server's protocol raise, in our two kinds of error."""
    from adbutils import AdbError

    try:
        yield
    except (AdbError, OSError, EOFError, ValueError, subprocess.SubprocessError) as error:
        text = str(error) or type(error).__name__
        raise classified(text, f"lost {who}: {text}") from error


def _listed(line: str) -> ListedDevice:
    """``no permissions`` comes with an explanation in brackets: keep the state alone."""
    serial, _, said = line.partition("\t")
    state = next((known for known in FIXES if said.startswith(known)), said.strip())
    return ListedDevice(serial, state, FIXES.get(state, f"unknown state {said!r}: plug in again"))


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
