"""What a campaign changes on a phone, and how it is put back whatever happens.

The screen is woken and kept on while plugged in, because Android moves background work to small,
slow cores. What was there before is written on the phone first: so it can be put back after
Ctrl-C, after a lost connection, and by the next campaign if this one was killed.

Some makers' Android refuses such changes. What was written is told by reading it again, never by
what the command says: then the campaign goes on without, and there is nothing to put back.
"""

from __future__ import annotations

import re
import shlex
import time
import warnings
from dataclasses import dataclass

from ...errors import DeviceError, StableDeviceError, TransientDeviceError
from .adb import AdbDevice
from .adb_server import classified

_UNSET = "null"
_WORD = re.compile(r"[\w.+-]+")  # what can be noted and put back letter by letter
#: The screen takes a moment to go on; a setting is there at once.
_LOOKS, _LOOK_S = 5, 0.3


@dataclass(frozen=True, slots=True)
class Setting:
    """One of Android's settings.

    Args:
        by_hand: how a person does the same on the phone.
    """

    space: str
    key: str
    while_measuring: str
    by_hand: str

    @property
    def name(self) -> str:
        return f"settings {self.space} {self.key}"

    def read(self, device: AdbDevice) -> str:
        """``null`` where the phone has no value; empty where it does not say."""
        answer = device.shell(f"settings get {self.space} {self.key}")
        return "" if answer.returncode else answer.stdout.strip()

    def write(self, value: str) -> str:
        """The command that gives it a value."""
        if value == _UNSET:
            return f"settings delete {self.space} {self.key}"
        return f"settings put {self.space} {self.key} {shlex.quote(value)}"


@dataclass(frozen=True, slots=True)
class Screen:
    """Whether the phone is awake."""

    name: str = "wakefulness"
    while_measuring: str = "Awake"
    by_hand: str = "press its power button"

    def read(self, device: AdbDevice) -> str:
        """``Asleep`` also while a clock is shown; empty where the phone does not say."""
        found = re.search(r"mWakefulness=(\w+)", device.shell("dumpsys power").stdout)
        return "" if not found else "Asleep" if found[1] in ("Asleep", "Dozing") else "Awake"

    def write(self, value: str) -> str:
        return f"input keyevent {'KEYCODE_SLEEP' if value == 'Asleep' else 'KEYCODE_WAKEUP'}"


#: 7 is any charger: mains, USB, wireless.
CHANGED: tuple[Setting | Screen, ...] = (
    Setting(
        "global",
        "stay_on_while_plugged_in",
        "7",
        "switch on 'Stay awake' in its developer options (Xiaomi: or 'USB debugging (Security "
        "settings)' there, then it is done for you)",
    ),
    Screen(),
)


def apply_settings(device: AdbDevice, folder: str) -> None:
    """Keep the phone awake; its own settings are noted in ``folder`` on the phone first.

    A note that is already there is from a campaign that was killed: it has the phone's own values.
    What cannot be read is left alone: nobody could put it back. What the phone refuses to change is
    warned of.

    Raises:
        StableDeviceError, TransientDeviceError: they cannot be noted, so nothing was changed.
    """
    note = shlex.quote(f"{folder}/restore")
    if device.shell(f"[ -e {note} ]").returncode:
        read = {each: each.read(device) for each in CHANGED}
        lines = [f"{each.name} {value}" for each, value in read.items() if _WORD.fullmatch(value)]
        text = shlex.quote("\n".join(lines))
        noted = device.shell(f"echo {text} >{note}.part && mv {note}.part {note}")
        if noted.returncode:
            said = f"{noted.stdout} {noted.stderr}".strip()
            raise classified(
                said,
                f"{device.serial} cannot note its own settings in {folder}, so none were changed: "
                f"{said}",
            )
    noted_values = _noted(device.shell(f"cat {note}").stdout)
    for each in CHANGED:
        refusal = ""
        if each in noted_values:
            refusal = _write(device, each, each.while_measuring)
        elif isinstance(each, Screen):  # that goes off by itself again
            device.shell(each.write(each.while_measuring))
        if refusal:
            warnings.warn(
                f"{device.serial} refuses {refusal}; with the screen off it is slow: "
                f"{each.by_hand}",
                RuntimeWarning,
                stacklevel=3,
            )


def restore_settings(device: AdbDevice, folder: str, patience_s: float = 30.0) -> None:
    """Put back what the note on the phone says; nothing to do when there is none.

    Raises:
        TransientDeviceError: the phone is gone, or refuses; the message says what is left to undo
            by hand.
    """
    note = shlex.quote(f"{folder}/restore")
    try:
        device.wait(patience_s)
        text = device.shell(f"cat {note} 2>/dev/null").stdout
        for each, value in _noted(text).items():
            if value == each.while_measuring and isinstance(each, Screen):
                continue  # awake before; if it sleeps now, so it would have
            if refusal := _write(device, each, value):
                raise StableDeviceError(f"it refuses {refusal}")
        device.shell(f"rm -f {note}")
    except DeviceError as error:
        by_hand = "; ".join(
            f"adb -s {shlex.quote(device.serial)} shell {each.write(_UNSET)}"
            for each in CHANGED
            if isinstance(each, Setting)
        )
        raise TransientDeviceError(
            f"could not put back the settings of {device.serial}: {error}. Measure on it again and "
            f"they are put back, or undo by hand: {by_hand}"
        ) from error


def _noted(text: str) -> dict[Setting | Screen, str]:
    """What a note says, of what is changed today."""
    rows = [line.rpartition(" ") for line in text.splitlines()]
    values = {name: value for name, _, value in rows}
    return {each: values[each.name] for each in CHANGED if each.name in values}


def _write(device: AdbDevice, changed: Setting | Screen, value: str) -> str:
    """Empty once it has the value, else what the phone said to the command that should give it."""
    if changed.read(device) == value:
        return ""
    command = changed.write(value)
    done = device.shell(command)
    for _ in range(_LOOKS):
        if changed.read(device) == value:
            return ""
        time.sleep(_LOOK_S)
    said = f"{done.stdout} {done.stderr}".strip().splitlines() or ["nothing"]
    return f"`{command}` and says {said[0]!r}"
