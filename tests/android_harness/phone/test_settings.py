"""Settings of a phone that refuses or answers badly: what cannot be put back is never changed."""

from __future__ import annotations

import warnings
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from shell_here import ODD_NAMES, ShellHere, put_programs, put_script

from mnasfpn.android_harness.phone import settings
from mnasfpn.android_harness.phone.settings import apply_settings, restore_settings
from mnasfpn.errors import TransientDeviceError

STAY_ON = "stay_on_while_plugged_in"
DENIED = "java.lang.SecurityException: Permission denial, must have WRITE_SECURE_SETTINGS"


class Phone(ShellHere):
    """One that keeps its settings in files: ``state/KEY``, no file where it has no value.

    Without a ``screen`` it does not say whether it is awake.
    """

    def __init__(
        self, folder: Path, stay_on: str = "3", screen: str = "Asleep", ours: str = "ours"
    ) -> None:
        super().__init__(put_programs(folder / "bin", "cat", "mv", "rm"))
        self.folder, self.state = str(folder / ours), folder / "state"
        for made in (Path(self.folder), self.state):
            made.mkdir()
        for name, value in ((STAY_ON, stay_on), ("screen", screen)):
            if value:
                (self.state / name).write_text(f"{value}\n")
        self.obeys()

    def obeys(self) -> None:
        at = self.state
        put_script(self.path, "dumpsys", f'read -r s <{at}/screen && echo " mWakefulness=$s"')
        put_script(
            self.path,
            "input",
            f"case $2 in *WAKEUP) echo Awake >{at}/screen ;; *) echo Asleep >{at}/screen ;; esac",
        )
        put_script(
            self.path,
            "settings",
            f"file={at}/$3",
            "case $1 in",
            'get) if [ -e "$file" ]; then cat "$file"; else echo null; fi ;;',
            'put) echo "$4" >"$file" ;;',
            'delete) rm -f "$file" ;;',
            "esac",
        )

    def refuses(self, program: str, exit_code: int) -> None:
        """To write; what it has may be read, and looks as it did."""
        refusal = f"[ \"$1\" != get ] && {{ echo '{DENIED}' >&2; exit {exit_code}; }}"
        put_script(self.path, program, refusal, f"[ ! -e {self.state}/$3 ] || cat {self.state}/$3")

    def value(self, name: str) -> str | None:
        path = self.state / name
        return path.read_text().strip() if path.exists() else None

    def apply(self) -> None:
        apply_settings(self, self.folder)  # type: ignore[arg-type]

    def restore(self) -> None:
        restore_settings(self, self.folder)  # type: ignore[arg-type]

    @property
    def noted(self) -> bool:
        return (Path(self.folder) / "restore").exists()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_LOOK_S", 0.0)


@pytest.mark.parametrize("stay_on", ["3", "7", ""])
@pytest.mark.parametrize("screen", ["Asleep", "Awake", "Dozing", "Dreaming"])
def test_what_is_changed_is_put_back(tmp_path: Path, stay_on: str, screen: str) -> None:
    phone = Phone(tmp_path, stay_on, screen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        phone.apply()
        assert phone.value(STAY_ON) == "7"
        assert phone.value("screen") in ("Awake", screen if screen == "Dreaming" else "Awake")
        assert phone.noted
        phone.restore()
    assert phone.value(STAY_ON) == (stay_on or None)
    sleeps = screen in ("Asleep", "Dozing")
    assert phone.value("screen") in (("Asleep",) if sleeps else ("Awake", screen))
    assert not phone.noted


def test_a_note_of_a_killed_campaign_has_the_phones_own_values(tmp_path: Path) -> None:
    phone = Phone(tmp_path, "3")
    phone.apply()
    phone.apply()
    phone.restore()
    assert phone.value(STAY_ON) == "3"


@pytest.mark.parametrize("exit_code", [0, 1, 255])
def test_a_setting_that_may_not_be_written_is_warned_of_and_left(
    tmp_path: Path, exit_code: int
) -> None:
    """Some makers' Android refuses with an error, some by doing nothing; the rest is put back."""
    phone = Phone(tmp_path)
    phone.refuses("settings", exit_code)
    with pytest.warns(RuntimeWarning, match=r"refuses `settings put.*WRITE_SECURE.*Stay awake"):
        phone.apply()
    assert (phone.value(STAY_ON), phone.value("screen")) == ("3", "Awake")
    phone.restore()
    assert (phone.value(STAY_ON), phone.value("screen")) == ("3", "Asleep")
    assert not phone.noted


def test_a_screen_that_cannot_be_woken_is_warned_of(tmp_path: Path) -> None:
    phone = Phone(tmp_path)
    phone.refuses("input", 255)
    with pytest.warns(RuntimeWarning, match=r"refuses `input keyevent.*power button"):
        phone.apply()
    assert phone.value(STAY_ON) == "7"
    phone.restore()
    assert phone.value(STAY_ON) == "3"


@pytest.mark.parametrize("answer", ["exit 1", "echo", "echo 'cmd: no such service'"])
def test_a_setting_that_cannot_be_read_is_left_alone(tmp_path: Path, answer: str) -> None:
    phone = Phone(tmp_path)
    put_script(phone.path, "settings", f"[ $1 = get ] || touch {phone.state}/touched", answer)
    phone.apply()
    phone.restore()
    assert not (phone.state / "touched").exists()


def test_a_phone_that_does_not_say_whether_it_is_awake_is_woken(tmp_path: Path) -> None:
    phone = Phone(tmp_path, screen="")
    put_script(phone.path, "dumpsys", "exit 1")
    phone.apply()
    assert phone.value("screen") == "Awake"
    phone.restore()


def test_the_note_stays_until_everything_is_put_back(tmp_path: Path) -> None:
    phone = Phone(tmp_path)
    phone.apply()
    phone.refuses("settings", 255)
    with pytest.raises(TransientDeviceError, match=r"WRITE_SECURE.*by hand: adb -s here shell"):
        phone.restore()
    assert phone.noted
    phone.obeys()
    phone.restore()
    assert phone.value(STAY_ON) == "3"


@hypothesis.settings(max_examples=20, deadline=None)
@given(name=ODD_NAMES)
def test_a_folder_of_any_name(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("phone")
    phone = Phone(folder, ours=f"{name} ours")
    phone.apply()
    assert phone.noted
    phone.restore()
    assert (phone.value(STAY_ON), phone.value("screen")) == ("3", "Asleep")
    assert not list(Path(phone.folder).iterdir())
    assert {path.name for path in folder.iterdir()} == {"bin", "state", f"{name} ours"}
