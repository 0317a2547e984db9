"""Which measurements are of one device: a phone is its hardware, however it is connected."""

from __future__ import annotations

import re
from dataclasses import replace

from .measurement import DeviceInfo

#: Names under which phones announce themselves over Wi-Fi, with wireless debugging and without.
#: A phone that announces itself once more gets a number in brackets.
_MDNS = (
    re.compile(r"adb-(?P<serial>.+)-\w{6}\._adb-tls-connect\._tcp\.?"),
    re.compile(r"adb-(?P<serial>.+)\._adb\._tcp\.?"),
)
_AGAIN = re.compile(r" \(\d+\)(?=\._adb)")


def hardware_serial(listed: str) -> str:
    """The ``ro.serialno`` in a name that adb lists: of an mDNS name its middle, else itself.

    ``adb-R5EXAMPLE1-aBcDeF (2)._adb-tls-connect._tcp`` is ``R5EXAMPLE1``.
    """
    name = announced(listed)
    found = next(filter(None, (form.fullmatch(name) for form in _MDNS)), None)
    return found["serial"] if found else listed


def announced(listed: str) -> str:
    """An mDNS name without the number that a reconnect may add, remove or change."""
    return _AGAIN.sub("", listed)


def is_same_device(stored: DeviceInfo, device: DeviceInfo) -> bool:
    """Whether what was measured of the one may be used for the other.

    Runs stored before 0.2 have no ``unit``, and over mDNS the name for a serial: they are found.
    A phone that does not say its unit now is not taken for one that did.
    """
    return stored.unit in ("", device.unit) and _by_hardware(stored) == _by_hardware(device)


def _by_hardware(info: DeviceInfo) -> DeviceInfo:
    return replace(info, serial=hardware_serial(info.serial), unit="")
