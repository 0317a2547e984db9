"""A phone without a phone: the real adbd, Android's shell and tools, and stand-ins for the rest.

What is real: adb server, adbd, its protocol, mksh and toybox, processes, files, signals, a full
disk. What stands in: system properties, ``dumpsys``, ``settings``, ``taskset`` (there are fewer
cores here than on the phone) and a ``/sys`` tree of plain files (:mod:`.kernel_files`).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mnasfpn.android_harness.phone.adb import AdbDevice
from mnasfpn.tests.android_harness.phone.kernel_files import (
    Cluster,
    switch_core,
    write_kernel_files,
)

HERE = Path(__file__).parent


BIG_LITTLE = (Cluster(0, 3, (300000, 1766400)), Cluster(4, 7, (710400, 1612800, 2457600)))
PROPERTIES = {
    "ro.product.manufacturer": "Example",
    "ro.product.model": "Phone of Files",
    "ro.soc.model": "EX100",
    "ro.build.version.release": "13",
    "ro.build.id": "EX1A.230101.001",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.boot.qemu": "1",
    "sys.boot_completed": "1",
}
STATE = {
    "battery_level": "87",
    "usb_powered": "true",
    "thermal_status": "0",
    "khz": "2457600",
    "skin_c": "33.25",
    "thermal_hal": "true",
    "settings_refused": "false",
    "wakefulness": "Asleep",
    "settings/global/stay_on_while_plugged_in": "0",
}


def free_port() -> int:
    """A loopback port outside the range that adb scans for emulators."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port if not 5550 <= port <= 5600 else free_port()


def why_no_phone() -> str:
    """Why such a phone cannot be started on this machine; empty when it can."""
    for program in ("unshare", "chroot", "apt-get", "dpkg-deb"):
        if not shutil.which(program):
            return f"a phone without a phone needs {program}"
    user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    tried = subprocess.run(
        ["unshare", *user, "--mount", "--pid", "--fork", "true"], capture_output=True, text=True
    )
    if tried.returncode:
        return f"this machine allows no name spaces: {tried.stderr.strip()}"
    installed = subprocess.run([HERE / "install"], capture_output=True, text=True)
    why = installed.stderr.strip()[-300:] or f"tests/phone/install exits {installed.returncode}"
    return why if installed.returncode else ""


@dataclass
class Phone:
    """One phone in a folder of its own; ``serial`` is what adb calls it.

    Args:
        folder: everything the phone has; kept when it is stopped, as flash memory is.
        clusters: of cores.
        properties: beyond :data:`PROPERTIES`.
        disk: size of /data/local/tmp for a phone that is nearly full, such as ``2m``.
        without: tools that its Android has not.
        policies: whether its kernel has ``cpufreq/policyN`` (Linux 4.3 and later).
    """

    folder: Path
    clusters: Sequence[Cluster] = BIG_LITTLE
    properties: Mapping[str, str] = field(default_factory=dict)
    disk: str = ""
    without: Sequence[str] = ()
    policies: bool = True
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        write_kernel_files(self.folder / "sys", self.clusters, self.policies)
        (self.folder / "system").mkdir(parents=True, exist_ok=True)
        self.set_properties(self.properties)
        for name, value in STATE.items():
            self.set_state(name, value)

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def tmp(self) -> Path:
        """The phone's /data/local/tmp, unless it has a ``disk`` of its own."""
        return self.folder / "data/local/tmp"

    def set_state(self, name: str, value: str) -> None:
        path = self.folder / "data/phone" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")

    def get_state(self, name: str) -> str:
        return (self.folder / "data/phone" / name).read_text().strip()

    def set_properties(self, properties: Mapping[str, str]) -> None:
        lines = [f"{key}={value}\n" for key, value in {**PROPERTIES, **properties}.items()]
        (self.folder / "system/build.prop").write_text("".join(lines))

    def switch_core(self, core: int, on: bool) -> None:
        """What hotplug does: to save power, or because of heat."""
        switch_core(self.folder / "sys", self.clusters, core, on)

    def switch_cores(self, cores: Iterable[int], on: bool) -> None:
        for core in cores:
            self.switch_core(core, on)

    def processes(self) -> list[str]:
        """Command lines of all that runs on the phone, but for init, adbd and who is asking."""
        asking = "ps -A -o ARGS"
        _, init, *lines = AdbDevice(self.serial).shell(asking).stdout.splitlines()
        assert init.startswith("bash ")
        return [line for line in lines if not line.endswith("/adbd") and line != asking]

    def becomes_idle(self, patience_s: float = 60) -> bool:
        """Whether nothing but the phone itself runs on it, now or soon."""
        deadline = time.monotonic() + patience_s
        while self.processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def start(self) -> Phone:
        environment = dict(os.environ, PHONE_DISK=self.disk, PHONE_WITHOUT=" ".join(self.without))
        log = (self.folder / "device.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [HERE / "device", self.folder, str(self.port)],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "device.log").read_text(errors="replace")
                raise RuntimeError(f"the phone did not start: {said[-500:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Gone at once with all its processes: unplugged, or the battery is empty."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            while self._listens():  # its adbd ends a moment later, and must not pass for the next
                time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
