"""What a campaign changes on a phone, and how it is put back whatever happens.

The screen is woken and kept on while plugged in, because Android moves background work to small,
slow cores. What was there before is written on the phone first: so it can be put back after
Ctrl-C, after a lost connection, and by the next campaign if this one was killed.
"""

from __future__ import annotations

import shlex

from ...errors import DeviceError, TransientDeviceError
from .adb import AdbDevice, classified

#: (name space, setting, value while measuring); 7 is any charger: mains, USB, wireless.
WHILE_MEASURING = (("global", "stay_on_while_plugged_in", "7"),)
_UNSET = "null"


def apply_settings(device: AdbDevice, folder: str) -> None:
    """Keep the phone awake; its own settings are noted in ``folder`` on the phone first.

    A note that is already there is from a campaign that was killed: it has the phone's own values.
    A setting that cannot be read is left alone: nobody could put it back.

    Raises:
        StableDeviceError, TransientDeviceError: they cannot be noted, so nothing was changed.
    """
    note = shlex.quote(f"{folder}/restore")
    if device.shell(f"[ -e {note} ]").returncode:
        found = [(space, key, _value(device, space, key)) for space, key, _ in WHILE_MEASURING]
        lines = [f"settings {space} {key} {value}" for space, key, value in found if value]
        lines.append(f"wakefulness {'Asleep' if _asleep(device) else 'Awake'}")
        text = shlex.quote("\n".join(lines))
        noted = device.shell(f"echo {text} >{note}.part && mv {note}.part {note}")
        if noted.returncode:
            said = f"{noted.stdout} {noted.stderr}".strip()
            raise classified(
                said,
                f"{device.serial} cannot note its own settings in {folder}, so none were changed: "
                f"{said}",
            )
    noted_text = device.shell(f"cat {note}").stdout
    for space, key, value in WHILE_MEASURING:
        if f"settings {space} {key} " in noted_text:
            device.shell(f"settings put {space} {key} {value}")
    device.shell("input keyevent KEYCODE_WAKEUP")


def restore_settings(device: AdbDevice, folder: str, patience_s: float = 30.0) -> None:
    """Put back what the note on the phone says; nothing to do when there is none.

    Raises:
        TransientDeviceError: the phone is gone; the message says what is left to undo by hand.
    """
    note = f"{folder}/restore"
    try:
        device.wait(patience_s)
        text = device.shell(f"cat {shlex.quote(note)} 2>/dev/null").stdout
        for command in _undo(text):
            done = device.shell(command)
            if done.returncode:
                raise TransientDeviceError(f"`{command}` said {done.stdout}{done.stderr}".strip())
        device.shell(f"rm -f {shlex.quote(note)}")
    except DeviceError as error:
        by_hand = "; ".join(
            f"adb -s {device.serial} shell settings delete {space} {key}"
            for space, key, _ in WHILE_MEASURING
        )
        raise TransientDeviceError(
            f"could not put back the settings of {device.serial}: {error}. Measure on it again and "
            f"they are put back, or undo by hand: {by_hand}"
        ) from error


def _undo(text: str) -> list[str]:
    commands = []
    for line in text.splitlines():
        kind, *words = line.split()
        if kind == "settings" and len(words) == 3:
            space, key, value = map(shlex.quote, words)
            verb = f"delete {space} {key}" if value == _UNSET else f"put {space} {key} {value}"
            commands.append(f"settings {verb}")
        elif (kind, words) == ("wakefulness", ["Asleep"]):
            commands.append("input keyevent KEYCODE_SLEEP")
    return commands


def _value(device: AdbDevice, space: str, key: str) -> str:
    """``null`` where the phone has no value; empty where it does not say."""
    answer = device.shell(f"settings get {space} {key}")
    return "" if answer.returncode else answer.stdout.strip()


def _asleep(device: AdbDevice) -> bool:
    return "mWakefulness=Asleep" in device.shell("dumpsys power").stdout
