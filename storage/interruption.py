"""Ctrl-C held back while something is begun, finished or saved."""

from __future__ import annotations

import itertools
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c_held_back(presses: float = math.inf) -> Iterator[threading.Event]:
    """Ctrl-C waits for the end of the block, where it has its ordinary effect.

    If the block ends with an exception, nothing follows it: the block has been interrupted. The
    signal is handled, not blocked, because one that is blocked in a thread another thread takes.
    Only the main thread hears of signals; in others nothing changes.

    Args:
        presses: so many wait; every further one ends the block with a KeyboardInterrupt.

    Yields:
        An event that is set as soon as Ctrl-C has been pressed, for blocks that can end early.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    count = itertools.count(1)  # a press may break into the handler of the one before

    def press(number: int, frame: object) -> None:
        this = next(count)
        if this == 1:
            pressed.set()
        if this > presses:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed.is_set():
        signal.raise_signal(signal.SIGINT)
