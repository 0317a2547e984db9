"""Settings of a phone that answers badly: what cannot be put back is never changed."""

from __future__ import annotations

from typing import Any

import pytest

from mnasfpn.android_harness.phone.adb import ShellResult
from mnasfpn.android_harness.phone.settings import apply_settings, restore_settings
from mnasfpn.errors import TransientDeviceError

STAY_ON = "settings put global stay_on_while_plugged_in"


class ScriptedPhone:
    """Answers by the beginning of a command; says what it was told. Keeps the note in memory."""

    serial = "scripted"

    def __init__(self, **answers: ShellResult) -> None:
        self.answers = {key.replace("_", " ", 1): value for key, value in answers.items()}
        self.note = ""
        self.told: list[str] = []

    def wait(self, seconds: float) -> None:
        pass

    def shell(self, command: str, **_: Any) -> ShellResult:
        self.told.append(command)
        if command.startswith("echo "):
            self.note = command[5:].split(" >")[0].strip("'")
            return ShellResult(0, "", "")
        if command.startswith("["):
            return ShellResult(0 if self.note else 1, "", "")
        if command.startswith("cat "):
            return ShellResult(0, self.note, "")
        if command.startswith("rm "):
            self.note = ""
        for beginning, answer in self.answers.items():
            if command.startswith(beginning):
                return answer
        return ShellResult(0, "", "")


def put(phone: ScriptedPhone) -> list[str]:
    return [command for command in phone.told if command.startswith(STAY_ON)]


def test_a_setting_is_changed_and_put_back() -> None:
    phone = ScriptedPhone(settings_get=ShellResult(0, "3\n", ""))
    apply_settings(phone, "/data/f")  # type: ignore[arg-type]
    restore_settings(phone, "/data/f")  # type: ignore[arg-type]
    assert put(phone) == [f"{STAY_ON} 7", f"{STAY_ON} 3"]
    assert phone.note == ""


def test_a_setting_that_the_phone_does_not_have_is_deleted_again() -> None:
    phone = ScriptedPhone(settings_get=ShellResult(0, "null\n", ""))
    apply_settings(phone, "/data/f")  # type: ignore[arg-type]
    restore_settings(phone, "/data/f")  # type: ignore[arg-type]
    assert put(phone) == [f"{STAY_ON} 7"]
    assert "settings delete global stay_on_while_plugged_in" in phone.told


@pytest.mark.parametrize("answer", [ShellResult(1, "", "cmd: no service"), ShellResult(0, "", "")])
def test_a_setting_that_cannot_be_read_is_left_alone(answer: ShellResult) -> None:
    phone = ScriptedPhone(settings_get=answer)
    apply_settings(phone, "/data/f")  # type: ignore[arg-type]
    restore_settings(phone, "/data/f")  # type: ignore[arg-type]
    assert put(phone) == []
    assert not any("settings delete" in command for command in phone.told)


def test_the_note_stays_until_everything_is_put_back() -> None:
    phone = ScriptedPhone(
        settings_get=ShellResult(0, "3\n", ""), settings_put=ShellResult(1, "", "no service")
    )
    apply_settings(phone, "/data/f")  # type: ignore[arg-type]
    with pytest.raises(TransientDeviceError, match=r"no service.*undo by hand"):
        restore_settings(phone, "/data/f")  # type: ignore[arg-type]
    assert phone.note
