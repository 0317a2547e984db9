"""The adb server: what it lists, what it says when something fails, and what to do then.

Every failure comes out as one of two errors: transient, when waiting and trying again may help, or
stable, when a person has to do something; then the message says what.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DeviceError, StableDeviceError, TransientDeviceError

if TYPE_CHECKING:
    from adbutils import AdbClient

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
    "rescue": "start the phone normally: it is in rescue mode",
    "bootloader": "start the phone normally: it is in the bootloader",
    "detached": (
        "the adb server was told to leave it to another program: end that one, then 'adb attach' "
        "or plug the cable out and in again"
    ),
    "host": (
        "this is the adb server of a computer, not a phone: connect to the phone's own address and "
        "port (5555, or the one that its wireless debugging shows)"
    ),
    "unknown": "plug the cable out and in again, then 'adb kill-server'",
}
#: Of ``adb devices -l``; its columns are as wide as what stands in them.
_AT_PORT = re.compile(r"(?P<serial>\(no serial number\)|\S+)\s+(?P<said>.+?) (?P<port>usb:\S+)")


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """One line of ``adb devices``.

    Args:
        serial: what adb takes for it: as listed or, where several are listed alike, the USB port.
        fix: what a person must do first; empty when the device can be used.
        listed: as adb lists it.
    """

    serial: str
    state: str
    fix: str
    listed: str


def list_devices() -> list[ListedDevice]:
    """Every device the adb server knows, usable or not; starts the server if need be.

    Raises:
        StableDeviceError: there is no adb program.
        TransientDeviceError: the adb server cannot be reached.
    """
    rows = [line.split("\t", 1) for line in _asked("host:devices") if "\t" in line]
    devices = [_listed(serial, said, serial) for serial, said in rows]
    alike = [
        serial for serial, count in Counter(each.listed for each in devices).items() if count > 1
    ]
    plugged = [each for each in plugged_in() if each.listed in alike] if alike else []
    named = {each.listed for each in plugged}
    return [*(each for each in devices if each.listed not in named), *plugged]


def plugged_in() -> list[ListedDevice]:
    """Every device on a USB cable, by its port: the only name where several have one serial.

    Empty where the system does not tell adb the ports, as Windows does not.
    """
    found = (_AT_PORT.match(line) for line in _asked("host:devices-l"))
    return [_listed(row["port"], row["said"], row["serial"]) for row in found if row]


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


def client() -> AdbClient:
    """Of the server that ``ANDROID_ADB_SERVER_PORT`` names; adbutils takes a while to import."""
    from adbutils import AdbClient

    return AdbClient()


@contextmanager
def translated(who: str) -> Iterator[None]:
    """Whatever adbutils, sockets and the server's protocol raise, in our two kinds of error."""
    from adbutils import AdbError

    try:
        yield
    except (AdbError, OSError, EOFError, ValueError, subprocess.SubprocessError) as error:
        text = str(error) or type(error).__name__
        raise classified(text, f"lost {who}: {text}") from error


def _asked(request: str) -> list[str]:
    """Lines of the adb server's answer."""
    with translated("the adb server"), client().make_connection(timeout=10) as link:
        link.send_command(request)
        link.check_okay()
        text: str = link.read_string_block()
    return text.splitlines()


def _listed(name: str, said: str, listed: str) -> ListedDevice:
    """``no permissions`` comes with an explanation in brackets: keep the state alone."""
    state = next((known for known in FIXES if said.startswith(known)), said.strip())
    fix = FIXES.get(state, f"unknown state {said!r}: plug in again")
    return ListedDevice(name, state, fix, listed)
