"""For every test: what a run may depend on, in which order the files run, and no leftovers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from mnasfpn.tests.android_harness.phone.adbd_phone import free_port

#: Marks of the tests that `make check` leaves out, and how long one without them may take.
EXPENSIVE = {"slow", "phone", "proof"}
MOST_S = 3.0

# The same examples every time, and as many on a busy machine as on an idle one.
settings.register_profile(
    "mnasfpn",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mnasfpn")

# Tests run in as many processes as there are cores, where threads of scikit-learn and PyTorch that
# wait for work must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell starts background jobs with Ctrl-C ignored, which they hand on to their children.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file share its fixtures, so one process runs them all; the longest go first.

    Phone tests are one group, since together they are the longest.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.get_closest_marker("phone"), item.path not in slow))
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tests that are as slow as those that are marked so: `make check` promises to be quick.

    Told, never failed: what else a machine does is no fault of a test.
    """
    reports = [
        report
        for group in terminalreporter.stats.values()
        for report in group
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    for report in sorted(reports, key=lambda report: -report.duration):
        if report.duration > MOST_S and not EXPENSIVE & set(report.keywords):
            terminalreporter.write_line(f"{report.duration:.0f} s, and not slow: {report.nodeid}")


@pytest.fixture(scope="session", autouse=True)
def own_adb_server() -> Iterator[int]:
    """The port of an adb server that is nobody else's, and is gone when the tests end."""
    import adbutils

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))
        patch.setenv("ADB_MDNS", "0")  # looks for no phones but those it is told of,
        patch.setenv("ADB_LIBUSB", "0")  # and starts in no time
        client = adbutils.AdbClient()
        yield client.port
        client.server_kill()


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """Keras trains step by step: to compile a training takes as long as ten steps of a test's."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
