"""The devices a person can name with ``--device``: this PC, and phones over adb."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DeviceError, InvalidInput
from .campaign_lock import campaign_lock
from .device import Device
from .measurement import HOST

if TYPE_CHECKING:
    from .phone.adb_server import ListedDevice

ONLY_PHONE = "phone"


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """One row of ``mnasfpn devices``; ``fix`` is empty when the device can be used."""

    serial: str
    state: str
    what: str
    fix: str


def find_devices() -> list[FoundDevice]:
    """This PC first, then what adb lists; without adb, a row that says how to get it."""
    from .phone.adb_server import list_devices

    try:
        listed = list_devices()
    except DeviceError as error:
        return [_this_pc(), FoundDevice("(adb)", "unavailable", "Android phones", str(error))]
    return [_this_pc(), *map(_phone, listed)]


def _phone(listed: ListedDevice) -> FoundDevice:
    from .phone.android import summary

    what, fix = "Android phone", listed.fix
    if not fix:
        try:
            what = summary(listed.serial)
        except DeviceError as error:
            fix = str(error)
    return FoundDevice(listed.serial, listed.state, what, fix)


def _this_pc() -> FoundDevice:
    from .host.host import HostDevice

    try:
        info = HostDevice().describe()
    except DeviceError as error:
        return FoundDevice(HOST, "unavailable", "this PC", str(error))
    return FoundDevice(HOST, "device", f"this PC: {info.soc}, {info.runtime}", "")


@contextmanager
def opened(serial: str, binary: Path | None, cores: Sequence[int] = ()) -> Iterator[Device]:
    """The device to measure on, for oneself; a phone's settings are put back afterwards.

    Another campaign on the same phone, or on the same core of this PC, is waited for.

    Args:
        serial: ``host``, ``phone`` where there is only one, else any name that
            :func:`~.phone.adb.choose_serial` takes.
        cores: of a phone, to run on; none for the biggest.

    Raises:
        InvalidInput, DeviceError: it cannot be used; the message says what to do.
    """
    if serial == HOST:
        if binary is not None:
            raise InvalidInput("--binary is for phones; this PC runs models with ai-edge-litert")
        if cores:
            raise InvalidInput("--cores is for phones; on this PC it is one of the fastest cores")
        from .host.host import HostDevice

        pc = HostDevice()
        with _lock(pc):
            yield pc
        return
    from .phone.android import AndroidDevice

    named = None if serial == ONLY_PHONE else serial
    phone = AndroidDevice(named, binary, cores=cores)
    with _lock(phone), phone:
        yield phone


def _lock(device: Device) -> AbstractContextManager[None]:
    """Of a phone, however it is connected; of a core of this PC, or of all where it cannot pin."""
    info = device.describe()
    if info.serial != HOST:
        return campaign_lock(f"phone {info.serial} {info.unit}".rstrip())
    if info.provenance == "simulated":  # a law's answers, which nothing beside it changes
        return nullcontext()
    return campaign_lock(" ".join(("this PC", *(f"core {core}" for core in info.cores))))
