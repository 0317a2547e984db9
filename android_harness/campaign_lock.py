"""One campaign at a time on a phone, or on a core of this PC: a lock that ends with its process.

Two programs on one core halve each other's speed, and the second to finish with a phone would put
its settings back under the first. The kernel lets go of the lock when its owner ends, however that
comes about.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO
from urllib.parse import quote

from ..errors import DeviceError, JobFailed
from ..storage.cache import cache_folder

if sys.platform != "win32":
    import fcntl

POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Owner:
    """Who measures: the process, its command line, and since when (local time)."""

    pid: int
    command: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command}), since {self.since}"


class DeviceBusy(DeviceError):
    """Another campaign has the device; the message says whose it is."""


@contextlib.contextmanager
def campaign_lock(
    device: str,
    wait_s: float | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Have a device for oneself; wait for it while another process, or thread, measures on it.

    Where the system has no ``flock`` (Windows) nothing is locked.

    Args:
        device: name of the phone, or of the core: the same for everybody who means it.
        wait_s: so long; None waits until it is free.

    Raises:
        DeviceBusy: it was not free in time.
        JobFailed: the user's cache cannot be written.
    """
    if sys.platform == "win32":
        yield
        return
    path = cache_folder("locks") / f"{quote(device, safe='')}.json"
    with _opened(path) as file:
        waited_s, told = 0.0, False
        while not _taken(file):
            if wait_s is not None and waited_s >= wait_s:
                raise DeviceBusy(
                    f"{device} is measured by {_owner(path)}; wait until that is done, end it, or "
                    "use another device"
                )
            if not told:
                warnings.warn(
                    f"{device} is measured by {_owner(path)}: waiting until that is done",
                    RuntimeWarning,
                    stacklevel=3,
                )
            told = True
            sleep(POLL_S)
            waited_s += POLL_S
        since = datetime.now().isoformat(" ", "seconds")
        command = textwrap.shorten(shlex.join(sys.orig_argv), 200, placeholder=" ...")
        owner = Owner(os.getpid(), command, since)
        file.truncate(0)
        file.seek(0)
        json.dump(asdict(owner), file)
        file.flush()
        yield


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except OSError as error:
        raise JobFailed(
            f"could not write {path}: {error.strerror}; set MNASFPN_CACHE to a folder that can be "
            "written"
        ) from error


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(path: Path) -> Owner | str:
    """Who has it, as far as it has been written yet."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return "another process"
