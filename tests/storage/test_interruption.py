"""Ctrl-C held back: real signals, in the main thread, in others, and to processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnasfpn.storage.interruption import ctrl_c_held_back


@pytest.fixture(autouse=True)
def handler_is_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def press(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # two signals at a time are one


def ends_with(
    block: Callable[[threading.Event], None], **options: float
) -> type[BaseException] | None:
    """What comes of a block in which Ctrl-C is held back."""
    try:
        with ctrl_c_held_back(**options) as pressed:
            block(pressed)
    except BaseException as error:
        return type(error)
    return None


def test_without_a_press_nothing_happens() -> None:
    noted = []
    assert ends_with(lambda pressed: noted.append(pressed.is_set())) is None
    assert noted == [False]


@pytest.mark.parametrize("times", [1, 3])
def test_it_waits_for_the_end_of_the_block(times: int) -> None:
    noted = []

    def block(pressed: threading.Event) -> None:
        press(times)
        noted.append(pressed.is_set())

    assert ends_with(block) is KeyboardInterrupt
    assert noted == [True]


def test_one_press_more_than_allowed_ends_the_block() -> None:
    noted = []

    def block(pressed: threading.Event) -> None:
        press()
        noted.append("after the first")
        press()
        noted.append("after the second")

    assert ends_with(block, presses=1) is KeyboardInterrupt
    assert noted == ["after the first"]


def test_a_block_that_ends_early_by_itself_is_not_interrupted_again() -> None:
    def block(pressed: threading.Event) -> None:
        press()
        if pressed.is_set():
            raise ValueError

    assert ends_with(block) is ValueError
    time.sleep(0.01)  # a signal under way would come now


def test_a_block_in_a_block_passes_it_on() -> None:
    noted = []

    def block(pressed: threading.Event) -> None:
        with ctrl_c_held_back():
            press()
            noted.append(pressed.is_set())
        noted.append(pressed.is_set())

    assert ends_with(block) is KeyboardInterrupt
    assert noted == [False, True]


def test_where_ctrl_c_is_ignored_it_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ctrl_c_held_back():
            press()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_never_hear_of_it() -> None:
    found = []

    def target() -> None:
        with ctrl_c_held_back() as pressed:
            found.append(pressed.is_set())

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_signal_that_another_thread_takes_is_held_back_all_the_same() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    noted = []

    def block(pressed: threading.Event) -> None:
        signal.pthread_kill(thread.ident or 0, signal.SIGINT)
        time.sleep(0.01)
        noted.append(pressed.is_set())

    try:
        assert ends_with(block) is KeyboardInterrupt
    finally:
        done.set()
        thread.join()
    assert noted == [True]


SAVING = """
import signal, sys, time
from pathlib import Path
from mnasfpn.storage.interruption import ctrl_c_held_back

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may ignore it
log = Path(sys.argv[1])
with ctrl_c_held_back(presses=1) as pressed:
    log.touch()
    while not pressed.is_set():
        time.sleep(0.01)
    log.write_text("pressed")
    time.sleep(float(sys.argv[2]))
    log.write_text("saved")
"""


@pytest.mark.parametrize(("seconds", "presses", "left"), [(0.2, 1, "saved"), (600, 2, "pressed")])
def test_in_a_process_of_its_own(tmp_path: Path, seconds: float, presses: int, left: str) -> None:
    log = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, "-c", SAVING, str(log), str(seconds)], stderr=subprocess.DEVNULL
    )
    for ready in ("", "pressed")[:presses]:
        while not log.exists() or log.read_text() != ready:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
    process.wait(30)
    assert process.returncode == -signal.SIGINT  # as a shell expects of what Ctrl-C ended
    assert log.read_text() == left
