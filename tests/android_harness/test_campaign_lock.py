"""One campaign per device: real processes, one of them ended with no chance to tidy up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from mnasfpn.android_harness.campaign_lock import DeviceBusy, campaign_lock
from mnasfpn.android_harness.devices import opened
from mnasfpn.android_harness.host.host import HostDevice
from mnasfpn.android_harness.measurement import HOST

PROGRAM = """
import sys
from mnasfpn.android_harness.campaign_lock import campaign_lock
with campaign_lock(sys.argv[1]):
    print("measuring", flush=True)
    sys.stdin.read()
"""

Owns = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNASFPN_CACHE", str(tmp_path))


@pytest.fixture
def owner() -> Iterator[Owns]:
    """A process that has begun a campaign on a device."""
    with ExitStack() as stack:

        def begin(device: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, device],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "measuring\n"
            return process

        yield begin


def test_a_second_campaign_is_told_whose_it_is(owner: Owns) -> None:
    process = owner("phone 8A1X0")
    words = rf"phone 8A1X0 is measured by process {process.pid} \(\S*python.*\), since \d{{4}}-"
    with pytest.raises(DeviceBusy, match=words), campaign_lock("phone 8A1X0", wait_s=0):
        pass
    with campaign_lock("phone R5", wait_s=0):  # another phone is another
        pass


def test_the_lock_of_a_process_that_was_killed_is_free(owner: Owns) -> None:
    process = owner("phone 8A1X0")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with campaign_lock("phone 8A1X0", wait_s=0):
        pass


def test_a_second_campaign_waits_until_the_first_is_done(owner: Owns) -> None:
    process = owner("phone 8A1X0")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            process.send_signal(signal.SIGKILL)
            process.wait()

    with (
        pytest.warns(RuntimeWarning, match=rf"process {process.pid} .*: waiting until") as told,
        campaign_lock("phone 8A1X0", sleep=sleep),
    ):
        pass
    assert (len(slept), len(told)) == (3, 1)


def test_two_threads_of_one_process_are_two_campaigns() -> None:
    refused = []

    def second() -> None:
        try:
            with campaign_lock("phone 8A1X0", wait_s=0):
                pass
        except DeviceBusy as error:
            refused.append(str(error))

    with campaign_lock("phone 8A1X0"):
        thread = Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert f"process {os.getpid()}" in refused[0]


def test_a_core_of_this_pc_is_locked_while_it_is_open(owner: Owns) -> None:
    core = HostDevice().describe().cores
    if not core:
        pytest.skip("this system cannot pin, so all of the PC is one device")
    name = f"this PC core {core[0]}"
    with opened(HOST, None):
        with pytest.raises(DeviceBusy), campaign_lock(name, wait_s=0):
            pass
        owner("this PC core 9999")
    owner(name)
