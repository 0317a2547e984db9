"""Start a virtual ARM phone by hand: ``make phone``, or this file with ``--cpu cortex-a53``.

The real adbd with Android's shell in name spaces of their own (:mod:`.adbd_phone`), and as its
benchmark program LiteRT for AArch64 on a simulated CPU (:mod:`.virtual_arm`).
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import tempfile
import threading
from pathlib import Path

from mnasfpn.android_harness.phone.adb_server import list_devices
from mnasfpn.tests.android_harness.phone.adbd_phone import Cluster, Phone, why_no_phone
from mnasfpn.tests.android_harness.phone.virtual_arm import (
    CPUS,
    VirtualCpu,
    make_launcher,
    what_is_missing,
)


def why_no_virtual_phone() -> str:
    """Why none can be started on this machine; empty when one can."""
    return what_is_missing() or why_no_phone()


def virtual_phone(folder: Path, cpu: VirtualCpu) -> Phone:
    """A phone of eight equal cores that says in every property what it is; not started yet.

    Its benchmark program is ``virtual_arm.make_launcher(cpu)``.
    """
    phone = Phone(
        folder,
        clusters=(Cluster(0, 7, (cpu.max_khz // 2, cpu.max_khz)),),
        properties={
            "ro.product.manufacturer": "mnasfpn",
            "ro.product.model": cpu.model.removeprefix("mnasfpn "),
            "ro.soc.model": f"simulated {cpu.name}",
            "ro.build.id": "SIMULATED",
            "ro.serialno": f"virtual-{cpu.name}",
        },
    )
    # The same phone in whatever folder: a campaign goes on after it was started again.
    android_id = hashlib.sha256(cpu.name.encode()).hexdigest()[:16]
    phone.set_state("settings/secure/android_id", android_id)
    return phone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--cpu", choices=CPUS, default="cortex-a76")
    cpu = CPUS[parser.parse_args().cpu]
    if reason := why_no_virtual_phone():
        sys.exit(reason)
    import adbutils

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    print("preparing the phone ...", flush=True)
    launcher = make_launcher(cpu)
    with tempfile.TemporaryDirectory(prefix="mnasfpn-phone-") as folder:
        phone = virtual_phone(Path(folder), cpu).start()
        try:
            list_devices()  # starts the adb server if there is none
            adbutils.AdbClient().connect(phone.serial, timeout=10)
            print(f"{cpu.model}\nserial: {phone.serial}\nbenchmark program: {launcher}\n")
            print("Its times are computed from instruction counts: they are no phone's. Try")
            print(f"  mnasfpn devices\n  mnasfpn profile --device {phone.serial} "
                  f"--binary {launcher} --out virtual.json")  # fmt: skip
            print("Ctrl-C stops it.", flush=True)
            while not stopped.wait(1) and phone.process and phone.process.poll() is None:
                pass
        finally:
            adbutils.AdbClient().disconnect(phone.serial)
            phone.stop()
    print("stopped")


if __name__ == "__main__":
    main()
